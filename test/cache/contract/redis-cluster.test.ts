import { testLockCache } from '../../../src/conformance/suite.ts';
import { onClusters } from '../../support/caches.ts';

describe('the contract of a cache on a Redis Cluster', () => {
  for (const entry of onClusters) testLockCache(entry);
});
