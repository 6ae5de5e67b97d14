/**
 * What a source finds of those of its locks that are wanted. What its datastore does not answer holds up nothing else.
 */

import { LockAdminError, type LockInfo } from '../admin/lock-admin.ts';
import type { LockCache } from '../cache/contract.ts';
import { within } from '../core/within.ts';
import type { DatastoreLook, DatastoreLooks, Seen, Wanted } from './datastore-look.ts';
import type { LockSearch } from './lock-search.ts';

/** How long a page waits for one source. */
export const TIME_LIMIT_MS = 2000;
/** Locks that are older than this are shown with their age. */
export const MAX_UNSAID_AGE_MS = 4000;
/** Locks that were seen are shown for so long, while the next look takes more time than there is. */
const MAX_AGE_MS = 60_000;
/** A source that does not answer is asked again after this time. Its datastore has given up its look by then. */
const GIVE_UP_MS = 31_000;

export const NO_ANSWER = 'its datastore did not answer';

/** What is known of the locks of a source. */
export interface Look {
  readonly locks: readonly LockInfo[];
  /** There are more locks than these. */
  readonly isCut: boolean;
  /** An identity of the datastore; without locks there may be none. */
  readonly datastore?: object;
  /** Why locks are missing, or not new. */
  readonly problem?: string;
}

/** How a source finds its locks. */
export interface LockFinder {
  readonly findCache: () => Promise<LockCache>;
  /** The stored keys of its locks begin with it. */
  readonly prefix: string;
  readonly datastores: DatastoreLooks;
}

interface Listing {
  readonly startedAt: number;
  readonly unviewed: AbortSignal;
  /** The datastore that is looked at, once it is known. */
  datastore?: DatastoreLook;
  /** What it looks for there. */
  wanted?: Wanted;
  /** Never rejects. */
  readonly result: Promise<Listed>;
}

type Listed =
  | { readonly seen: Seen; readonly datastore: DatastoreLook; readonly wasSlow: boolean }
  | { readonly problem: string };

type ListedLocks = Extract<Listed, { readonly seen: Seen }>;

export class SourceLook {
  readonly #label: string;
  readonly #search: LockSearch;
  readonly #finder: LockFinder;
  readonly #onError: (error: unknown) => void;
  #listing: Listing | undefined;
  #last: Listed | undefined;

  /**
   * @param label - the name of the source, for problems.
   * @param onError - called with what its cache throws.
   */
  constructor(label: string, search: LockSearch, finder: LockFinder, onError: (error: unknown) => void) {
    this.#label = label;
    this.#search = search;
    this.#finder = finder;
    this.#onError = onError;
  }

  /**
   * Lists the locks, within the time limit. A server that does not answer is not asked again by every page. Never rejects.
   * @param unviewed - aborted when nobody wants to see them any more.
   */
  async at(unviewed: AbortSignal): Promise<Look> {
    const listing = this.#currentListing(unviewed);
    const recent = this.#recent();
    const limit = recent?.wasSlow ? 0 : listing.startedAt + TIME_LIMIT_MS - performance.now();
    const listed = await within(limit, listing.result);
    if (!listed) return recent ? this.#show(recent, `${NO_ANSWER}; `) : this.#showSoFar(listing);
    return 'problem' in listed ? this.#missing(listed.problem) : this.#show(listed);
  }

  #currentListing(unviewed: AbortSignal): Listing {
    const now = performance.now();
    const current = this.#listing;
    if (current && !current.unviewed.aborted && now - current.startedAt < GIVE_UP_MS) return current;
    const listing: Listing = {
      startedAt: now,
      unviewed,
      result: this.#list(unviewed, (datastore, wanted) => Object.assign(listing, { datastore, wanted })),
    };
    this.#listing = listing;
    void listing.result.then(listed => {
      if (this.#listing !== listing) return;
      this.#listing = undefined;
      if (!unviewed.aborted) this.#last = listed;
    });
    return listing;
  }

  async #list(
    unviewed: AbortSignal,
    onLook: (datastore: DatastoreLook, wanted: Wanted) => void,
  ): Promise<Listed> {
    const startedAt = performance.now();
    try {
      const { findCache, prefix, datastores } = this.#finder;
      const cache = await findCache();
      const datastore = datastores.of(cache);
      const wanted = { prefix, search: this.#search, cache };
      onLook(datastore, wanted);
      const seen = await datastore.see(wanted, unviewed);
      return { seen, datastore, wasSlow: performance.now() - startedAt > TIME_LIMIT_MS };
    } catch (error) {
      if (error instanceof LockAdminError) return { problem: error.message };
      if (!unviewed.aborted) this.#onError(error);
      return { problem: NO_ANSWER };
    }
  }

  #recent(): ListedLocks | undefined {
    const last = this.#last;
    if (!last || 'problem' in last) return undefined;
    return performance.now() - last.seen.at < MAX_AGE_MS ? last : undefined;
  }

  /** @param why - why nothing newer is shown. */
  #show({ seen, datastore }: ListedLocks, why = ''): Look {
    const look = { locks: datastore.stillHeld(seen), isCut: seen.isCut, datastore };
    const age = performance.now() - seen.at;
    if (why === '' && age < MAX_UNSAID_AGE_MS) return look;
    const asOf = `its locks are shown as they were ${Math.ceil(age / 1000)} s ago`;
    return { ...look, problem: `${this.#label}: ${why}${asOf}` };
  }

  /** The first look at very many locks takes longer than a page waits. */
  #showSoFar({ datastore, wanted }: Listing): Look {
    const seen = wanted && datastore?.soFar(wanted);
    if (!datastore || !seen) return this.#missing(NO_ANSWER);
    const problem = `${this.#label}: its locks are still being read; these were found so far`;
    return { locks: datastore.stillHeld(seen), isCut: true, datastore, problem };
  }

  #missing(problem: string): Look {
    return { locks: [], isCut: false, problem: `${this.#label}: ${problem}` };
  }
}
