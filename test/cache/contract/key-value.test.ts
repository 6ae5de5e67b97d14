import { testLockCache } from '../../../src/conformance/suite.ts';
import { onKeyValueStores } from '../../support/caches.ts';

describe('the contract of a cache on a key-value store', () => {
  for (const entry of onKeyValueStores) testLockCache(entry);
});
