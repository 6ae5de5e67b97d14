/** bullmq-once: makes sure that a piece of work runs once at a time. */

export {
  type ListedState,
  type LockAdmin,
  type LockFilter,
  type LockInfo,
  type LocksOptions,
  locksOf,
  type QueueLike,
} from './admin/lock-admin.ts';
export type { LockLine } from './admin/lock-line.ts';
export type {
  AcquireResult,
  AcquireStep,
  Answered,
  Batch,
  BatchExchange,
  BatchResults,
  DuplicateRecord,
  EnterResult,
  EnterStep,
  ForcedRelease,
  ForceReleaseStep,
  Journal,
  JournalPage,
  JournalRecord,
  KeptResult,
  LeaveResult,
  LeaveStep,
  LineKind,
  LineQuery,
  LineRecord,
  Lines,
  Listener,
  LockCache,
  LockListing,
  OutcomeCount,
  ReleaseNotifications,
  ReleaseStep,
  RenewStep,
  RequiredVerbs,
  Reservation,
  Results,
  Standing,
} from './cache/contract.ts';
export type { KeyValueStore } from './cache/key-value.ts';
export { MemoryCache } from './cache/memory.ts';
export type {
  CommandingClient,
  DefiningClient,
  EvaluatingClient,
  RedisClient,
  ScriptingClient,
  SendingClient,
} from './cache/redis/client.ts';
export { RedisCache } from './cache/redis/redis-cache.ts';
export { type Cache, type CacheRegistry, caches } from './cache/registry.ts';
export {
  CacheError,
  KeyError,
  LockError,
  LockLostError,
  type LossReason,
  MismatchError,
} from './core/errors.ts';
export type { Holder, LockRecord, LockState } from './core/holder.ts';
export type { Delay } from './duplicates/delay.ts';
export type { WaitFor } from './duplicates/wait-in-slot.ts';
export type { OnDuplicate, WhenLocked } from './duplicates/when-locked.ts';
export type { OnEvent } from './events/emitter.ts';
export type {
  AcquiredEvent,
  CacheErrorEvent,
  CacheOperation,
  DelayedEvent,
  HandledEvent,
  KeyErrorEvent,
  LockEvent,
  LockSubject,
  LostEvent,
  MismatchedEvent,
  Outcome,
  OutcomeEvent,
  ParkedEvent,
  RaisedEvent,
  ReclaimedEvent,
  ReleasedEvent,
  RenewedEvent,
  ReservedEvent,
  SharedEvent,
  SkippedEvent,
} from './events/events.ts';
export { type Mode, setMode } from './guard/mode.ts';
export { type Once, type OnceDecorator, type OnceOptions, once } from './guard/once.ts';
export {
  type AnyJob,
  type GuardedFunction,
  type OnceProcessor,
  type OnceProcessorDecorator,
  type OnceProcessorOptions,
  onceProcessor,
} from './guard/once-processor.ts';
export type { GuardOptions } from './guard/options.ts';
export type { CheckedTemplate } from './key/template-types.ts';
export { Lock, type LockOptions, type WaitOptions } from './lock/lock.ts';
export type { LockHandle } from './lock/lock-handle.ts';
export type { LeaseOptions } from './lock/options.ts';
