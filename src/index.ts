/** bullmq-once: makes sure that a piece of work runs once at a time. */

export type { JobLike } from './bullmq/job-owner.ts';
export type {
  Answers,
  Arrival,
  Batch,
  Claim,
  Holder,
  Lease,
  LockCache,
  Newest,
  Verdict,
  Watch,
} from './caches/cache.ts';
export { MemoryCache } from './caches/memory.ts';
export { RedisCache } from './caches/redis.ts';
export type {
  CommandingClient,
  DefiningClient,
  EvaluatingClient,
  RedisClient,
} from './caches/redis-client.ts';
export { type Cache, type CacheRegistry, caches } from './caches/registry.ts';
export type { SimpleStore } from './caches/simple.ts';
export { CacheError, KeyError, LockError, LockLostError, type LossReason } from './errors.ts';
export type {
  AboutLock,
  AcquiredEvent,
  FailedEvent,
  KeptEvent,
  LockEvent,
  LostEvent,
  OnEvent,
  RaisedEvent,
  ReleasedEvent,
  RenewedEvent,
  RetriedEvent,
  SkippedEvent,
  TakenOverEvent,
} from './events.ts';
export type { GuardOptions } from './guard-options.ts';
export type { HeldLock } from './held-lock.ts';
export type { CheckedTemplate } from './key/placeholders.ts';
export { Lock, type LockOptions, type WaitOptions } from './lock.ts';
export {
  type LockFilter,
  type LockInfo,
  type Locks,
  type LocksOptions,
  locks,
  type QueueLike,
} from './locks.ts';
export { type Mode, setMode } from './mode.ts';
export { type Once, type OnceDecorator, type OnceOptions, once } from './once.ts';
export {
  type GuardedFunction,
  type OnceProcessor,
  type OnceProcessorDecorator,
  type OnceProcessorOptions,
  type OnceSandboxed,
  type OnceSandboxedOptions,
  onceProcessor,
  type SandboxedFunction,
} from './once-processor.ts';
export type { LeaseOptions } from './options.ts';
export type { OnDuplicate, RetryIn, WaitFor, WhenLocked } from './when-locked.ts';
