/** bullmq-once: makes sure that a piece of work runs once at a time. */

export type { JobLike } from './bullmq/job.ts';
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
} from './cache/contract.ts';
export { MemoryCache } from './cache/memory.ts';
export { RedisCache } from './cache/redis/redis-cache.ts';
export type {
  CommandingClient,
  DefiningClient,
  EvaluatingClient,
  RedisClient,
} from './cache/redis/client.ts';
export { type Cache, type CacheRegistry, caches } from './cache/registry.ts';
export type { SimpleStore } from './cache/key-value.ts';
export { CacheError, KeyError, LockError, LockLostError, type LossReason } from './core/errors.ts';
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
} from './events/events.ts';
export type { GuardOptions } from './guard/options.ts';
export type { HeldLock } from './lock/lock-handle.ts';
export type { CheckedTemplate } from './key/template-types.ts';
export { Lock, type LockOptions, type WaitOptions } from './lock/lock.ts';
export {
  type LockFilter,
  type LockInfo,
  type Locks,
  type LocksOptions,
  locks,
  type QueueLike,
} from './admin/lock-admin.ts';
export { type Mode, setMode } from './guard/mode.ts';
export { type Once, type OnceDecorator, type OnceOptions, once } from './guard/once.ts';
export {
  type GuardedFunction,
  type OnceProcessor,
  type OnceProcessorDecorator,
  type OnceProcessorOptions,
  type OnceSandboxed,
  type OnceSandboxedOptions,
  onceProcessor,
  type SandboxedFunction,
} from './guard/once-processor.ts';
export type { LeaseOptions } from './lock/options.ts';
export type { OnDuplicate, RetryIn, WaitFor, WhenLocked } from './duplicates/when-locked.ts';
