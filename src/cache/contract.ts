/**
 * The contract between locks and whatever stores them. Every verb takes a batch, so that one round trip can
 * serve many jobs, and every step of a batch is atomic by itself.
 */

/** Asks for a key. */
export interface Claim {
  /** The key's full name in the cache. */
  readonly key: string;
  /** The secret of the lease, should it be granted: new for every claim. */
  readonly token: string;
  /** Who the lease is for. A claim by the holder's own owner takes the lease over, unless its attempt is older. */
  readonly owner: string;
  /** Which of its owner's runs claims, counted upwards; 0 where runs are not counted. */
  readonly attempt: number;
  /** How long the lease lasts unless it is renewed, in ms. */
  readonly ttl: number;
  /** Whoever claims wants to be told by {@link LockCache.watch} when a key that is held is let go of. */
  readonly waits?: boolean;
}

/** A claim that was granted until it expires. Renewing and letting go act only where `token` is still stored. */
export interface Lease {
  readonly key: string;
  readonly token: string;
  /** How long a renewal makes it last from then on, in ms. */
  readonly ttl: number;
  /** How long a release leaves the key held, as done, in ms. `0` lets go at once. */
  readonly keepFor: number;
}

/** The answer to a claim. */
export type Verdict =
  | {
      readonly taken: true;
      /** Rises with every taking of the key. */
      readonly fence: number;
      /** The lease was taken over from an earlier run of the same owner. */
      readonly tookOver: boolean;
    }
  | { readonly taken: false; readonly holder: Holder };

/** The record of who has a key. */
export interface Holder {
  /** The key's full name in the cache. */
  readonly key: string;
  /** `'running'`: leased; `'done'`: kept after a success (`keepFor`); `'foreign'`: a value that no lock wrote. */
  readonly state: 'running' | 'done' | 'foreign';
  /** Who the lease is for: of a job `<prefix>:<queue>:<id>@<creation time>`. Empty for a foreign value. */
  readonly owner: string;
  /** The fence of this taking; 0 for a foreign value. */
  readonly fence: number;
  /** Which of its owner's runs has it, see {@link Claim.attempt}. */
  readonly attempt: number;
  /** When it was taken, in ms since the epoch by the cache's clock; 0 for a foreign value. */
  readonly since: number;
  /** How long it stays held if nobody renews it, in ms; `Infinity` for a value that never expires. */
  readonly expiresIn: number;
}

/**
 * Stores leases. Implement it to keep locks where none of the built-in caches can.
 *
 * "No" is a value, "don't know" is a rejection: an answer says what is stored; a cache that can't tell rejects,
 * or puts an `Error` in the place of the one answer that could not be had.
 */
export interface LockCache {
  /**
   * Grants each claim whose key is free, expired, or leased to the claim's own owner for a run that is not newer.
   * In order: of two claims on one key the first wins. A claim whose token is stored already was granted before
   * its answer got lost, and is granted again as it was.
   */
  acquire(claims: readonly Claim[]): Promise<readonly (Verdict | Error)[]>;
  /** Extends each lease to its `ttl` from now. `false`: it is no longer held under this token, and nothing was changed. */
  renew(leases: readonly Lease[]): Promise<readonly (boolean | Error)[]>;
  /** Lets go of each lease, or keeps it as done for its `keepFor`. `false`: it is no longer held under this token, and nothing was changed. */
  release(leases: readonly Lease[]): Promise<readonly (boolean | Error)[]>;
  /** Tells who holds each key, `undefined` for those that are free. */
  inspect(keys: readonly string[]): Promise<readonly (Holder | undefined)[]>;
  /**
   * All three at once, for a cache that can do them in one round trip. Releases act first, then renewals, then claims.
   * What it sends it sends before it returns its promise.
   */
  exchange?(batch: Batch): Promise<Answers>;
  /**
   * Calls `tell` whenever the key may have become free, and once when it begins to listen. What was let go of before it
   * listened, or by a lease that no claim with `waits` has met, it need not tell, nor what expired: whoever waits asks
   * now and then all the same. Without it they ask often.
   */
  watch?(key: string, tell: () => void): Watch;
  /**
   * Writes down under each key the newest job that came for it, and answers which that is now: for `'keep-last'`. The names
   * of these keys are not those of locks.
   */
  announce?(arrivals: readonly Arrival[]): Promise<readonly (Newest | Error)[]>;
  /**
   * Tells who holds the keys whose names begin with `prefix`, in any order. What comes or goes meanwhile may be told of or
   * not; names that are no lock's are passed over. For those who look at locks, not for those who take them.
   */
  list?(prefix: string): AsyncIterable<Holder>;
  /**
   * Lets go of each key, whoever holds it, or has done it: an operator's hand. Its holder is told by its next renewal, and who waits
   * for it as of a release. `false`: it was not held, or by a value that no lock wrote, and nothing was changed.
   */
  evict?(keys: readonly string[]): Promise<readonly (boolean | Error)[]>;
}

/** An ear for one key. */
export interface Watch {
  /** It listens at this moment, so that there is no need to ask often. */
  readonly listens: boolean;
  stop(): void;
}

/** A job that came for a key. Of two, the newest is the one with the higher `order`. */
export interface Arrival {
  readonly key: string;
  readonly owner: string;
  /** When the job was created, as a text of ASCII that sorts. Of two that are the same, whichever comes is newer, unless it is a `rerun`. */
  readonly order: string;
  /** The job was here before. */
  readonly rerun: boolean;
  /** It can't run now, and is put off until it is called or its time comes. */
  readonly waits: boolean;
  /** How long it is to be remembered, in ms, at least. */
  readonly keepFor: number;
}

/** The newest job that came for a key. */
export interface Newest {
  readonly owner: string;
  /** As it said of itself when it came last. */
  readonly waits: boolean;
  /** The owner that was the newest until now, if it is another and waits. */
  readonly outdone?: string | undefined;
}

/** What one turn of the event loop has for a cache. */
export interface Batch {
  readonly claims: readonly Claim[];
  readonly renewals: readonly Lease[];
  readonly releases: readonly Lease[];
}

/** The answers to a {@link Batch}, in its order. */
export interface Answers {
  readonly claimed: readonly (Verdict | Error)[];
  readonly renewed: readonly (boolean | Error)[];
  readonly released: readonly (boolean | Error)[];
}
