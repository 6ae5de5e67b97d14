/** bullmq-once/conformance: what every cache must do, as a suite of tests for the author of a cache. */

export {
  type CacheUnderTest,
  type CreatedCache,
  GUARANTEES,
  type GuaranteeName,
  type TestRunner,
  testLockCache,
} from './conformance/suite.ts';
