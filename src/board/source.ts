/** A queue or a cache whose locks a board shows. What its datastore does not answer holds up nothing else. */

import { describeRefusal, type LockAdmin, LockAdminError, type LockInfo } from '../admin/lock-admin.ts';
import type { LockCache } from '../cache/contract.ts';
import { asError } from '../core/errors.ts';
import { warn } from '../core/warnings.ts';
import { within } from '../core/within.ts';

/** How long a page waits for one source. */
const TIME_LIMIT_MS = 2000;
/** Locks that were listed are shown for so long, while the next list takes more time than there is. */
const MAX_AGE_MS = 30_000;
/** A list that takes longer is given up: its connection may be dead, and the next list may get another. */
const MAX_LISTING_MS = 30_000;
/** More than a page can show. */
export const MAX_LOCKS = 500;

/** What is known of the locks of a source. */
export interface Look {
  /** One more than {@link MAX_LOCKS}, where there are more. */
  readonly locks: readonly LockInfo[];
  /** An identity of the datastore; without locks there may be none. */
  readonly datastore?: string | LockCache;
  /** Why locks are missing, or not new. */
  readonly problem?: string;
}

/** What came of a force release. */
export type ForceReleaseResult =
  | { readonly released: true }
  | { readonly released: false; readonly why: 'refused' | 'unknown'; readonly problem: string };

interface Listing {
  readonly startedAt: number;
  /** Never rejects. */
  readonly result: Promise<Look>;
}

/** A list that was completed. */
interface Listed {
  readonly look: Look;
  readonly at: number;
  readonly wasSlow: boolean;
}

export class Source {
  /** The name by which the page tells it from others. */
  readonly label: string;
  /** It is one queue. A cache may have locks of many. */
  readonly isQueue: boolean;
  readonly #locks: LockAdmin;
  readonly #findCache: () => Promise<LockCache>;
  #listing: Listing | undefined;
  #last: Listed | undefined;

  constructor(
    label: string,
    locks: LockAdmin,
    findCache: () => Promise<LockCache>,
    { isQueue }: { readonly isQueue: boolean },
  ) {
    this.label = label;
    this.isQueue = isQueue;
    this.#locks = locks;
    this.#findCache = findCache;
  }

  /**
   * Lists the locks, within the time limit. There is one list at a time: a server that does not answer is not asked again by
   * every page. Never rejects.
   */
  async look(): Promise<Look> {
    const { startedAt, result } = this.#currentListing();
    const recent = this.#recent();
    const limit = recent?.wasSlow ? 0 : startedAt + TIME_LIMIT_MS - performance.now();
    const look = await within(limit, result);
    return look ?? this.#lookBack(recent);
  }

  /** Ends an acquisition, if it still holds its key. The answer may be `'unknown'` although it did. */
  async forceRelease(lock: Pick<LockInfo, 'storedKey' | 'fence'>): Promise<ForceReleaseResult> {
    try {
      return (await within(TIME_LIMIT_MS, this.#forceRelease(lock))) ?? this.#unknown();
    } catch (error) {
      if (error instanceof LockAdminError) throw error;
      this.#warn(error);
      return this.#unknown();
    }
  }

  async #forceRelease(lock: Pick<LockInfo, 'storedKey' | 'fence'>): Promise<ForceReleaseResult> {
    if (await this.#locks.forceRelease(lock)) return { released: true };
    const reason = describeRefusal(await this.#locks.get(lock));
    return { released: false, why: 'refused', problem: `the lock was not released: it ${reason}` };
  }

  #unknown(): ForceReleaseResult {
    const problem = `${this.#noAnswer()}; the lock may be released as soon as it does`;
    return { released: false, why: 'unknown', problem };
  }

  #currentListing(): Listing {
    const now = performance.now();
    if (this.#listing && now - this.#listing.startedAt < MAX_LISTING_MS) return this.#listing;
    const listing = { startedAt: now, result: this.#list() };
    this.#listing = listing;
    void listing.result.then(look => {
      if (this.#listing !== listing) return;
      const at = performance.now();
      this.#listing = undefined;
      this.#last = { look, at, wasSlow: at - listing.startedAt > TIME_LIMIT_MS };
    });
    return listing;
  }

  async #list(): Promise<Look> {
    try {
      const cache = await this.#findCache();
      const locks: LockInfo[] = [];
      for await (const lock of this.#locks.list()) {
        if (locks.push(lock) > MAX_LOCKS) break;
      }
      return { locks, datastore: cache.datastore ?? cache };
    } catch (error) {
      if (error instanceof LockAdminError) return { locks: [], problem: `${this.label}: ${error.message}` };
      this.#warn(error);
      return { locks: [], problem: this.#noAnswer() };
    }
  }

  #recent(): Listed | undefined {
    return this.#last && performance.now() - this.#last.at < MAX_AGE_MS ? this.#last : undefined;
  }

  /** What is shown where the time was too short. */
  #lookBack(recent: Listed | undefined): Look {
    if (!recent || recent.look.problem !== undefined) return { locks: [], problem: this.#noAnswer() };
    const age = performance.now() - recent.at;
    const locks = recent.look.locks.map(lock => ({ ...lock, expiresIn: lock.expiresIn - age }));
    const problem = `${this.#noAnswer()}; its locks are shown as they were ${Math.ceil(age / 1000)} s ago`;
    return { ...recent.look, locks: locks.filter(({ expiresIn }) => expiresIn > 0), problem };
  }

  #noAnswer(): string {
    return `${this.label}: its datastore did not answer`;
  }

  /** What a driver says is for those who run the server, not for those who see the page. */
  #warn(error: unknown): void {
    const { message } = asError(error);
    warn('ONCE_BOARD_SOURCE', `the board can't reach the datastore of ${this.label}: ${message}`);
  }
}
