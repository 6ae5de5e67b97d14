/** bullmq-once/conformance: what every cache must do, as a suite of tests for whoever writes one. */

export {
  type CacheUnderTest,
  type CreatedCache,
  PROMISES,
  type PromiseName,
  type TestRunner,
  testLockCache,
} from './conformance/suite.ts';
