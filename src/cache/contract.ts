/**
 * The contract between locks and whatever stores them. Every verb takes a batch, so that one round trip serves many jobs.
 * Every step of a batch is atomic by itself.
 */

import type { Holder, LockRecord } from '../core/holder.ts';
import type { Outcome } from '../events/events.ts';

export type { LockRecord };

/** Asks for a key. */
export interface AcquireStep {
  /** The key's name in the cache. */
  readonly storedKey: string;
  /** The secret of the lease, if it is granted: new for every step. */
  readonly token: string;
  /** Who the lease is for. The holder's own owner reclaims its lease by a newer attempt. */
  readonly owner: string;
  /** Which run of its owner asks, counted upwards; 0 where runs are not counted. */
  readonly attempt: number;
  /** How long the lease lasts unless it is renewed, in ms. */
  readonly ttl: number;
  /** If the key is held, its release is to be notified to those who {@link ReleaseNotifications.listen}. */
  readonly notify?: boolean;
  /** A hash of what must be equal besides the key for its owner to be a duplicate. The record keeps it. */
  readonly match?: string | undefined;
}

/** Extends a lease. Acts only where `token` is stored. */
export interface RenewStep {
  readonly storedKey: string;
  readonly token: string;
  /** How long the lease lasts from now on, in ms. */
  readonly ttl: number;
}

/** Ends a lease. Acts only where `token` is stored. */
export interface ReleaseStep {
  readonly storedKey: string;
  readonly token: string;
  /** How long the key stays held as done, in ms. `0`: it is free at once. */
  readonly dedupeFor: number;
  /** The key stays reserved for the next run of the owner instead. */
  readonly reservation?: Reservation | undefined;
  /**
   * What is kept of the work's result: where the key stays held as done, or in the line `'together'`. Only a cache that has
   * {@link Results} gets it.
   */
  readonly result?: KeptResult | undefined;
}

/** The result of work that was done. */
export interface KeptResult {
  /** Begins with `{"match":"…"` where the work had a hash of what must be equal. A cache reads no more of it. */
  readonly text: string;
  /** How large it is, as the record of the key tells it: 0 where the text only says that it is not kept. */
  readonly bytes: number;
}

/** How long a key is reserved. A newer run of the owner acquires it meanwhile, and nobody else. */
export interface Reservation {
  /** In how many ms the owner is expected back, as far as that is known. Those who find the key reserved are told. */
  readonly dueIn: number;
  /** How long the reservation lasts at most, in ms. */
  readonly lastsFor: number;
}

/** The answer to an {@link AcquireStep}. */
export type AcquireResult =
  | {
      readonly acquired: true;
      /** Rises with every acquisition of the key. */
      readonly fence: number;
      /** It was the lease of an earlier run of the same owner, which has not ended it. */
      readonly reclaimed: boolean;
    }
  | { readonly acquired: false; readonly record: LockRecord };

/** The verbs that every cache has. */
export interface RequiredVerbs {
  /**
   * Grants each step whose key is free, expired, or leased to or reserved for the step's own owner by an older run (or by any,
   * where both attempts are 0). In order: of two steps on one key the first wins. A step whose token is stored already was granted before
   * and its answer got lost; it is granted again as it was.
   */
  acquire(steps: readonly AcquireStep[]): Promise<readonly (AcquireResult | Error)[]>;
  /** Extends each lease to its `ttl` from now. `false`: it is not held under this token, and nothing was changed. */
  renew(steps: readonly RenewStep[]): Promise<readonly (boolean | Error)[]>;
  /** Ends each lease. `false`: it is not held under this token, and nothing was changed. */
  release(steps: readonly ReleaseStep[]): Promise<readonly (boolean | Error)[]>;
  /** Reports who holds each key, `undefined` for those that are free. */
  inspect(storedKeys: readonly string[]): Promise<readonly (LockRecord | undefined)[]>;
}

/** Capability: one exchange for a whole batch, for a cache that can do all three verbs in one round trip. */
export interface BatchExchange {
  /**
   * Releases act first, then renewals, then acquisitions. What it sends it sends before it returns its promise.
   */
  exchange(batch: Batch): Promise<BatchResults>;
}

/** Capability: release notifications, for those who wait. Without it they ask often. */
export interface ReleaseNotifications {
  /**
   * Calls `onRelease` whenever the key may have become free, and once when it begins to listen. It need not notify what
   * expired, what was released before it listened, nor what was released by a lease that no step with `notify` has found
   * held: those who wait also ask now and then.
   */
  listen(storedKey: string, onRelease: () => void): Listener;
}

/**
 * Capability: several places of one key, and a line of those who are parked for it. A step here is one atomic step on the key
 * and its line.
 */
export interface Lines {
  /**
   * As `acquire`, of one place of the key. An owner that is granted a place leaves the line. One that is refused joins it, or keeps
   * its position. A free place is refused to an owner that has others before it in the line.
   */
  enter(steps: readonly EnterStep[]): Promise<readonly (EnterResult | Error)[]>;
  /** As `release`, of what was acquired by {@link Lines.enter}. Reports whose turn it is now. */
  leave(steps: readonly LeaveStep[]): Promise<readonly (LeaveResult | Error)[]>;
  /** Reports how the lines of some keys stand. */
  lines(queries: readonly LineQuery[]): Promise<readonly (LineRecord | Error)[]>;
  /** Removes owners from lines. `false`: it was not in that line. */
  strikeOut(steps: readonly LineQuery[]): Promise<readonly (boolean | Error)[]>;
}

/** The methods of {@link Lines}. */
export const LINE_METHODS = ['enter', 'leave', 'lines', 'strikeOut'] as const;

/**
 * Capability: results of work that was done. What a step's `result` says is kept by the same atomic step, in a place of its own, as long as
 * the key stays held as done. The line `'together'` needs it.
 */
export interface Results {
  /** Reports the texts of the results that are kept for some keys; `undefined` for those that have none. */
  results(storedKeys: readonly string[]): Promise<readonly (string | undefined | Error)[]>;
}

/** Capability: listing, for those who look at locks. */
export interface LockListing {
  /**
   * Reports who holds the keys whose names begin with `prefix`, in any order. What comes or goes meanwhile may be reported
   * or not. Names that are no lock's are passed over.
   * @param signal - once it is aborted, nobody wants the rest, and the list may end early.
   */
  list(prefix: string, signal?: AbortSignal): AsyncIterable<LockRecord>;
}

/** Capability: forced release, for operators. */
export interface ForcedRelease {
  /**
   * Frees each key, whoever holds it or has done it. Its holder learns of it at its next renewal, and those who wait are
   * notified as of any release. `false`: the key was not held, or by another acquisition than the step's `fence`, or by a value
   * that no lock wrote, and nothing was changed.
   */
  forceRelease(steps: readonly ForceReleaseStep[]): Promise<readonly (boolean | Error)[]>;
}

/**
 * Capability: a journal of what became of the duplicates of each queue, for operators. It is bounded: counts are kept for a day, and of each
 * queue the last thousand duplicates for a week.
 */
export interface Journal {
  /** Adds to the journals of some queues. */
  writeJournal(pages: readonly JournalPage[]): Promise<void>;
  /** Reads the journal of a queue. */
  readJournal(queue: string): Promise<JournalRecord>;
}

/** What one process adds to the journal of one queue. */
export interface JournalPage extends JournalRecord {
  /** The queue with its prefix: `bull:emails`. */
  readonly queue: string;
}

/** What is in the journal of a queue. */
export interface JournalRecord {
  /** The earliest first. Minutes without duplicates are left out. */
  readonly counts: readonly OutcomeCount[];
  /** The earliest first. */
  readonly duplicates: readonly DuplicateRecord[];
}

/** How many duplicates had an outcome in a minute. */
export interface OutcomeCount {
  /** When the minute began, in ms since the epoch, by the clocks of the processes. */
  readonly minute: number;
  readonly outcome: Outcome;
  readonly count: number;
}

/** What became of one duplicate. */
export interface DuplicateRecord {
  /** When, in ms since the epoch, by the clock of its process. */
  readonly at: number;
  readonly jobId: string;
  /** The key in the user's words. A long one is in its short form. */
  readonly key: string;
  readonly outcome: Outcome;
  /** It ran all the same, because the mode was `'observe'`. */
  readonly observed: boolean;
  /** Who was in its way; absent where a newer job had come. */
  readonly holder?: Pick<Holder, 'state' | 'owner' | 'jobId' | 'queueName'> | undefined;
}

/** Frees a key, whoever holds it. */
export interface ForceReleaseStep {
  readonly storedKey: string;
  /** Only the acquisition with this fence is ended. Without it any is. */
  readonly fence?: number | undefined;
}

/**
 * Stores locks. Implement it to keep locks where none of the built-in caches can.
 *
 * "No" is a value, "don't know" is a rejection: an answer says what is stored. A cache that can't tell rejects, or puts an
 * `Error` in the place of the one answer that it does not have.
 */
export interface LockCache
  extends RequiredVerbs,
    Partial<BatchExchange>,
    Partial<ReleaseNotifications>,
    Partial<Lines>,
    Partial<Results>,
    Partial<LockListing>,
    Partial<ForcedRelease>,
    Partial<Journal> {
  /**
   * An identity of the datastore. Those who wait for one key of one datastore stand in one queue in a process, whichever caches
   * they come by. Without it each cache is taken for a datastore of its own.
   */
  readonly datastore?: string | undefined;
  /** Of two calls on one key the later one may act first: they travel on several connections. */
  readonly overtakes?: boolean | undefined;
  /**
   * Its connection writes what a turn of the event loop has collected as one packet.
   * @internal
   */
  readonly writesByTurn?: boolean | undefined;
  /**
   * Holds back for a moment what its connection writes, so that it leaves as one packet. Absent where that can't be done.
   * @internal
   */
  readonly holdWrites?: HoldWrites | undefined;
}

/** Resolves when what was held back is written. @internal */
export type HoldWrites = () => Promise<void> | undefined;

/** A listener to the release of one key. */
export interface Listener {
  /** Releases are notified at this moment, so that there is no need to ask often. */
  readonly isListening: boolean;
  stop(): void;
}

/**
 * - `'all'`: all stand in it, in the order in which they joined;
 * - `'newest'`: there is room for one. Of two jobs the newer stays: by the numbers that their queue gave them, else by the
 *   times of their creation, else the one that comes later;
 * - `'together'`: all leave it at once when the work was done, and share its result. Nobody in it is in the way of others.
 */
export type LineKind = 'all' | 'newest' | 'together';

/** Asks for a place of a key. Steps on one key have the same `places` and the same kind of line. */
export interface EnterStep extends AcquireStep {
  /** How many may hold the key at once. */
  readonly places: number;
  /** Absent where nobody is parked for the key. */
  readonly line?: LineKind | undefined;
  /** `false`: it is granted or refused as ever, but only if its owner is in the line already or reclaims its own; else nothing happens. */
  readonly joins: boolean;
  /** Those who {@link ReleaseNotifications.listen} to the key are called when it joins. */
  readonly interrupts: boolean;
  /** Of several places that are reserved a refusal names the first with a higher fence. Absent: the first of all. */
  readonly reservedAfter?: number | undefined;
}

/** The answer to an {@link EnterStep}. */
export type EnterResult =
  | {
      readonly acquired: true;
      readonly fence: number;
      readonly reclaimed: boolean;
      /** The owner whose turn is next, or that is outdone. It is to be promoted when the key is released. */
      readonly next?: string | undefined;
    }
  | {
      readonly acquired: false;
      /** Who is in its way: a holder, or the owner whose turn it is (`'parked'`), or a newer one that has run (`'done'`). */
      readonly record: LockRecord;
      readonly standing?: Standing | undefined;
    }
  /** Its step does not join, and its owner is not in the line. Nothing happened. */
  | {
      readonly acquired: false;
      readonly record?: undefined;
      readonly standing: { readonly is: 'not-in-line' };
    }
  /** Its owner was in the line `'together'` when the work was done. It gets the result as often as it asks while that is kept. */
  | { readonly acquired: false; readonly record?: undefined; readonly standing: Answered };

/** The work was done, and this is its result. */
export interface Answered {
  readonly is: 'answered';
  /** The text of the result. */
  readonly result: string;
  /** One of the others that have not come for it yet. Who was to promote it may have died: it is to be promoted now. */
  readonly next?: string | undefined;
}

/** How an owner that was refused stands. */
export type Standing =
  /** It is in the line, with so many before it. With room for one it may have taken the position of another, which is outdone. */
  | { readonly is: 'in-line'; readonly ahead: number; readonly outdone?: string | undefined }
  /** It is not in the line: a newer one is parked, holds the key, or has run. */
  | { readonly is: 'outdone' }
  /** Of the line `'together'`: it is not in it any more. */
  | Answered;

/** Ends a lease that was acquired by an {@link EnterStep}. */
export interface LeaveStep extends ReleaseStep {
  readonly places: number;
  readonly line?: LineKind | undefined;
  /**
   * Of the line `'newest'`: for how long its owner may come again, in ms. It is outdone then if a newer one has run meanwhile. Of the
   * line `'together'`: for how long the result is kept at least, for those who are parked.
   */
  readonly rememberFor: number;
}

/** The answer to a {@link LeaveStep}. */
export interface LeaveResult {
  /** `false`: it was not held under this token, and nothing was changed. */
  readonly released: boolean;
  /** The owner whose turn it is. */
  readonly next?: string | undefined;
  /** Of the line `'together'`, where the work was done: the first {@link MAX_ANSWERED} of those that share its result. */
  readonly answered?: readonly string[] | undefined;
}

/** So many that share a result are promoted at once. Each that comes promotes another: the last of as many others, or else the first. */
export const MAX_ANSWERED = 1000;

/** Asks about a line, and about an owner in it. */
export interface LineQuery {
  readonly storedKey: string;
  readonly owner: string;
}

/** How the line of a key stands. */
export interface LineRecord {
  /** How many hold the key. */
  readonly held: number;
  /** How many are parked for it. */
  readonly parked: number;
  /** The first of them. */
  readonly head?: string | undefined;
  /** How many stand before the owner that was asked about. Absent where it is not in the line. */
  readonly ahead?: number | undefined;
  /** Whether the owner that was asked about holds a place. */
  readonly holds: boolean;
}

/** What one turn of the event loop asks of a cache. */
export interface Batch {
  readonly releases: readonly ReleaseStep[];
  readonly renewals: readonly RenewStep[];
  readonly acquisitions: readonly AcquireStep[];
}

/** The answers to a {@link Batch}, in its order. */
export interface BatchResults {
  readonly released: readonly (boolean | Error)[];
  readonly renewed: readonly (boolean | Error)[];
  readonly acquired: readonly (AcquireResult | Error)[];
}
