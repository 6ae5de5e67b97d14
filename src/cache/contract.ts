/**
 * The contract between locks and whatever stores them. Every verb takes a batch, so that one round trip serves many jobs.
 * Every step of a batch is atomic by itself.
 */

import type { LockRecord } from '../core/holder.ts';

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

/** Capability: the newest job of a key, for `'keep-last'`. */
export interface NewestJobs {
  /**
   * Records under each name the newest job that came for a key, and reports which that is now. The names are not those of
   * locks.
   */
  announce(arrivals: readonly Arrival[]): Promise<readonly (Newest | Error)[]>;
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
    Partial<NewestJobs>,
    Partial<LockListing>,
    Partial<ForcedRelease> {
  /**
   * An identity of the datastore. Those who wait for one key of one datastore stand in one queue in a process, whichever caches
   * they come by. Without it each cache is taken for a datastore of its own.
   */
  readonly datastore?: string | undefined;
}

/** A listener to the release of one key. */
export interface Listener {
  /** Releases are notified at this moment, so that there is no need to ask often. */
  readonly isListening: boolean;
  stop(): void;
}

/** A job that came for a key. Of two, the newest is the one with the higher `order`. */
export interface Arrival {
  readonly storedKey: string;
  readonly owner: string;
  /** When the job was created, as ASCII that sorts. Of two that are equal, the one that comes later is newer, unless it is a `rerun`. */
  readonly order: string;
  /** The job came for the key before. */
  readonly rerun: boolean;
  /** It can't run now, and is parked until it is promoted or its time comes. */
  readonly parked: boolean;
  /** How long it is remembered at least, in ms. */
  readonly rememberFor: number;
}

/** The newest job that came for a key. */
export interface Newest {
  readonly owner: string;
  /** As it said of itself when it came last. */
  readonly parked: boolean;
  /** The owner that was the newest until now, if it is another and is parked. */
  readonly outdone?: string | undefined;
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
