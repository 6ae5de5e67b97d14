import { testLockCache } from '../../../src/conformance/suite.ts';
import { inMemory } from '../../support/caches.ts';

describe('the contract of a cache in memory', () => {
  for (const entry of inMemory) testLockCache(entry);
});
