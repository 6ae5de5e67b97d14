import { testLockCache } from '../../../src/conformance/suite.ts';
import { onRedisServers } from '../../support/caches.ts';

describe('the contract of a cache on Redis', () => {
  for (const entry of onRedisServers) testLockCache(entry);
});
