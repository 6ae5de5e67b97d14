/** What locks do, told as it happens: on the diagnostics channels `bullmq-once:<type>`, and to a callback `onEvent`. */

import { type Channel, channel } from 'node:diagnostics_channel';
import type { Holder } from '../cache/contract.ts';
import type { CacheError, LossReason } from '../core/errors.ts';
import { warn } from '../core/warnings.ts';

/** Which key an event is about, and for whom it was asked. */
export interface AboutLock {
  /** The key as its user knows it. */
  readonly key: string;
  /** The key's full name in the cache. */
  readonly storedKey: string;
  /** Who the lease is, or was to be, for; see {@link Holder.owner}. */
  readonly owner: string;
  /** Of a job its queue and its id. */
  readonly queueName?: string | undefined;
  readonly jobId?: string | undefined;
}

/** The key was taken, and the work begins. */
export interface AcquiredEvent extends AboutLock {
  readonly type: 'acquired';
  readonly fence: number;
  /** How long it took, from when it was first asked for, in ms. */
  readonly waited: number;
}

/** The lease was taken over from an earlier run of the same owner, which has crashed or stalled. `acquired` is told too. */
export interface TakenOverEvent extends AboutLock {
  readonly type: 'taken-over';
  readonly fence: number;
}

/** The lease was extended. */
export interface RenewedEvent extends AboutLock {
  readonly type: 'renewed';
  readonly fence: number;
  /** For how long, in ms. */
  readonly ttl: number;
}

/** The lease is no longer ours, though its work has not ended. */
export interface LostEvent extends AboutLock {
  readonly type: 'lost';
  readonly fence: number;
  readonly why: LossReason;
}

/** The key was let go of. */
export interface ReleasedEvent extends AboutLock {
  readonly type: 'released';
  readonly fence: number;
  /** How long it was held, in ms. */
  readonly held: number;
  /** How long it stays held as done, in ms; 0: not at all. */
  readonly keepFor: number;
}

/** What became of a duplicate. */
interface DuplicateEvent extends AboutLock {
  /** Who holds the key; absent where a newer job has come (`'keep-last'`). */
  readonly holder?: Holder | undefined;
  /** It ran all the same: this is what would have become of it, see the option `mode`. */
  readonly observed: boolean;
}

/** A duplicate completes with no result. */
export interface SkippedEvent extends DuplicateEvent {
  readonly type: 'skipped';
}

/** A duplicate fails. */
export interface RaisedEvent extends DuplicateEvent {
  readonly type: 'raised';
}

/** A duplicate was put off, and is tried again. */
export interface RetriedEvent extends DuplicateEvent {
  readonly type: 'retried';
}

/** A duplicate waits as the newest of its key. */
export interface KeptEvent extends DuplicateEvent {
  readonly type: 'kept';
}

/** The cache could not do it. */
export interface FailedEvent extends AboutLock {
  readonly type: 'failed';
  /** Which step it was. A renewal is tried again; what can't be let go of ends with its ttl. */
  readonly step: 'claim' | 'renew' | 'release';
  readonly error: CacheError | Error;
  /** The work runs all the same, as `onCacheError: 'run'` says. */
  readonly unguarded: boolean;
}

/** An event of a lock, told apart by its `type`. */
export type LockEvent =
  | AcquiredEvent
  | TakenOverEvent
  | RenewedEvent
  | LostEvent
  | ReleasedEvent
  | SkippedEvent
  | RaisedEvent
  | RetriedEvent
  | KeptEvent
  | FailedEvent;

export type LockEventType = LockEvent['type'];

/** What becomes of a duplicate, by the type of its event. */
export const FATES = ['skipped', 'raised', 'retried', 'kept'] as const;
export type Fate = (typeof FATES)[number];
/** The event of a duplicate. */
export type FateEvent = Extract<LockEvent, { readonly type: Fate }>;

export function isFate(type: LockEventType): type is Fate {
  return (FATES as readonly LockEventType[]).includes(type);
}

export function isOfDuplicate(event: LockEvent): event is FateEvent {
  return isFate(event.type);
}

/** Is told each event. What it throws, or rejects with, becomes a warning. */
export type OnEvent = (event: LockEvent) => unknown;

const CHANNELS: Readonly<Record<LockEventType, Channel>> = {
  acquired: channel('bullmq-once:acquired'),
  'taken-over': channel('bullmq-once:taken-over'),
  renewed: channel('bullmq-once:renewed'),
  lost: channel('bullmq-once:lost'),
  released: channel('bullmq-once:released'),
  skipped: channel('bullmq-once:skipped'),
  raised: channel('bullmq-once:raised'),
  retried: channel('bullmq-once:retried'),
  kept: channel('bullmq-once:kept'),
  failed: channel('bullmq-once:failed'),
};

/** Tells events to whoever wants to know. Ask whether anyone does before an event is made. */
export class Teller {
  readonly #onEvent: OnEvent | undefined;

  constructor(onEvent?: OnEvent) {
    this.#onEvent = onEvent;
  }

  hears(type: LockEventType): boolean {
    return this.#onEvent !== undefined || CHANNELS[type].hasSubscribers;
  }

  tell(event: LockEvent): void {
    const told = CHANNELS[event.type];
    if (told.hasSubscribers) told.publish(event);
    if (this.#onEvent) callSafely(this.#onEvent, event);
  }
}

function callSafely(onEvent: OnEvent, event: LockEvent): void {
  const report = (error: unknown) =>
    warn('ONCE_ON_EVENT', `an onEvent callback failed on '${event.type}': ${error}`);
  try {
    const result = onEvent(event);
    if (result instanceof Promise) result.catch(report);
  } catch (error) {
    report(error);
  }
}
