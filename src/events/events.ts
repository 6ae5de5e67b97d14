/** The events of locks, as they appear on the diagnostics channels `bullmq-once:<type>` and in `onEvent`. */

import type { CacheError, KeyError, LossReason } from '../core/errors.ts';
import type { Holder } from '../core/holder.ts';

/** Which key an event is about, and who asked for it. */
export interface LockSubject {
  /** The key in the user's words. */
  readonly key: string;
  /** The key's name in the cache. */
  readonly storedKey: string;
  /** Who the lease is for, see {@link Holder.owner}. */
  readonly owner: string;
  /** The name of the job's queue, where a job asked. */
  readonly queueName?: string | undefined;
  /** The job's id, where a job asked. One of more than 468 characters ends in a hash. */
  readonly jobId?: string | undefined;
}

/** The key was acquired, and the work begins. */
export interface AcquiredEvent extends LockSubject {
  readonly type: 'acquired';
  readonly fence: number;
  /** The time since it was first asked for, in ms. */
  readonly waitedFor: number;
}

/** The owner acquired its own lease again: an earlier run of it crashed or stalled. `acquired` is emitted too. */
export interface ReclaimedEvent extends LockSubject {
  readonly type: 'reclaimed';
  readonly fence: number;
}

/** The lease was renewed. */
export interface RenewedEvent extends LockSubject {
  readonly type: 'renewed';
  readonly fence: number;
  /** How long it lasts from now on, in ms. */
  readonly ttl: number;
}

/** The lease is gone although its work has not ended. */
export interface LostEvent extends LockSubject {
  readonly type: 'lost';
  readonly fence: number;
  readonly reason: LossReason;
}

/** The key was released. */
export interface ReleasedEvent extends LockSubject {
  readonly type: 'released';
  readonly fence: number;
  /** How long it was held, in ms. */
  readonly heldFor: number;
  /** How long it stays held as done, in ms; 0: it is free. */
  readonly dedupeFor: number;
}

/** The job will run again, and the key is reserved for its next run (`holdThroughRetries`). */
export interface ReservedEvent extends LockSubject {
  readonly type: 'reserved';
  readonly fence: number;
  /** How long it was held, in ms. */
  readonly heldFor: number;
  /** In how many ms the job is expected back, as far as that is known. */
  readonly dueIn: number;
  /** How long the reservation lasts at most, in ms. */
  readonly lastsFor: number;
}

interface DuplicateEvent extends LockSubject {
  /** Who holds the key; absent where a newer job has come (`'keep-last'`). */
  readonly holder?: Holder | undefined;
  /** `true`: it ran all the same, because the mode is `'observe'`. This is what would have happened to it. */
  readonly observed: boolean;
}

/** A duplicate completes with no result. */
export interface SkippedEvent extends DuplicateEvent {
  readonly type: 'skipped';
}

/** A duplicate fails with a {@link LockError}. */
export interface RaisedEvent extends DuplicateEvent {
  readonly type: 'raised';
}

/** A duplicate was moved to BullMQ's delayed set, and is tried again. */
export interface DelayedEvent extends DuplicateEvent {
  readonly type: 'delayed';
}

/** A duplicate was moved to BullMQ's delayed set, and is promoted when it is its turn. */
export interface ParkedEvent extends DuplicateEvent {
  readonly type: 'parked';
}

/** A duplicate completes with the result of the work that was done. */
export interface SharedEvent extends DuplicateEvent {
  readonly type: 'shared';
}

/** The key is held, or was done, for other data (`match`). The job fails with a {@link MismatchError}. */
export interface MismatchedEvent extends DuplicateEvent {
  readonly type: 'mismatched';
}

/** A duplicate is handled by the function that `whenLocked` is. */
export interface HandledEvent extends DuplicateEvent {
  readonly type: 'handled';
}

/** The operations of a cache that can fail. */
export type CacheOperation = 'acquire' | 'renew' | 'release';

/** The cache could not do an operation. A renewal is tried again; a key that can't be released is free after its ttl. */
export interface CacheErrorEvent extends LockSubject {
  readonly type: 'cache-error';
  readonly operation: CacheOperation;
  readonly error: CacheError | Error;
  /** The work runs without a lock, because `onCacheError` is `'run'` or the mode is `'observe'`. */
  readonly failedOpen: boolean;
}

/** No key could be built in the mode `'observe'`. The work runs without a lock. In other modes the job fails instead. */
export interface KeyErrorEvent extends LockSubject {
  readonly type: 'key-error';
  readonly error: KeyError | Error;
}

/** An event of a lock. Its `type` tells which. */
export type LockEvent =
  | AcquiredEvent
  | ReclaimedEvent
  | RenewedEvent
  | LostEvent
  | ReleasedEvent
  | ReservedEvent
  | SkippedEvent
  | RaisedEvent
  | DelayedEvent
  | ParkedEvent
  | SharedEvent
  | MismatchedEvent
  | HandledEvent
  | CacheErrorEvent
  | KeyErrorEvent;

export type LockEventType = LockEvent['type'];

export const EVENT_TYPES: readonly LockEventType[] = [
  'acquired',
  'reclaimed',
  'renewed',
  'lost',
  'released',
  'reserved',
  'skipped',
  'raised',
  'delayed',
  'parked',
  'shared',
  'mismatched',
  'handled',
  'cache-error',
  'key-error',
];

/** What can become of a duplicate, by the type of its event. */
export const OUTCOMES = [
  'skipped',
  'raised',
  'delayed',
  'parked',
  'shared',
  'mismatched',
  'handled',
] as const;
export type Outcome = (typeof OUTCOMES)[number];
/** The event of a duplicate. */
export type OutcomeEvent = Extract<LockEvent, { readonly type: Outcome }>;

export function isOutcome(type: LockEventType): type is Outcome {
  return (OUTCOMES as readonly LockEventType[]).includes(type);
}

export function isOutcomeEvent(event: LockEvent): event is OutcomeEvent {
  return isOutcome(event.type);
}
