import { testLockCache } from '../../../src/conformance/suite.ts';
import { onPostgres } from '../../support/caches.ts';

describe('the contract of a cache on PostgreSQL', () => {
  for (const entry of onPostgres) testLockCache(entry);
});
