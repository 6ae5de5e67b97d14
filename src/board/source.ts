/** A queue or a cache whose locks a board shows. What its datastore does not answer holds up nothing else. */

import { describeRefusal, type LockAdmin, LockAdminError, type LockInfo } from '../admin/lock-admin.ts';
import type { JournalRecord, LockCache } from '../cache/contract.ts';
import { asError } from '../core/errors.ts';
import { warn } from '../core/warnings.ts';
import { within } from '../core/within.ts';
import type { DatastoreLook, DatastoreLooks, Seen } from './datastore-look.ts';

/** How long a page waits for one source. */
const TIME_LIMIT_MS = 2000;
/** Locks that are older than this are shown with their age. */
const MAX_UNSAID_AGE_MS = 4000;
/** Locks that were seen are shown for so long, while the next look takes more time than there is. */
const MAX_AGE_MS = 60_000;
/** A source that does not answer is asked again after this time. Its datastore has given up its look by then. */
const GIVE_UP_MS = 31_000;

const NO_JOURNAL: JournalRecord = { counts: [], duplicates: [] };

const NO_ANSWER = 'its datastore did not answer';

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

/** What came of a force release. */
export type ForceReleaseResult =
  | { readonly released: true }
  | { readonly released: false; readonly why: 'refused' | 'unknown'; readonly problem: string };

interface Listing {
  readonly startedAt: number;
  readonly unviewed: AbortSignal;
  /** The datastore that is looked at, once it is known. */
  datastore?: DatastoreLook;
  /** Never rejects. */
  readonly result: Promise<Listed>;
}

type Listed =
  | { readonly seen: Seen; readonly datastore: DatastoreLook; readonly wasSlow: boolean }
  | { readonly problem: string };

type ListedLocks = Extract<Listed, { readonly seen: Seen }>;

/** How a {@link Source} finds its locks. */
export interface SourceLocks {
  readonly admin: LockAdmin;
  readonly findCache: () => Promise<LockCache>;
  /** The stored keys of its locks begin with it. */
  readonly prefix: string;
  readonly datastores: DatastoreLooks;
}

export class Source {
  /** The name by which the page tells it from others. */
  readonly label: string;
  /** It is one queue. A cache may have locks of many. */
  readonly isQueue: boolean;
  /** The name of that queue, without its prefix. */
  readonly queueName: string | undefined;
  readonly #locks: SourceLocks;
  #listing: Listing | undefined;
  #last: Listed | undefined;
  #reading: { readonly startedAt: number; readonly read: Promise<JournalRecord> } | undefined;
  #journal: JournalRecord = NO_JOURNAL;
  #journalAt = Number.NEGATIVE_INFINITY;

  constructor(label: string, locks: SourceLocks, { queueName }: { readonly queueName: string | undefined }) {
    this.label = label;
    this.isQueue = queueName !== undefined;
    this.queueName = queueName;
    this.#locks = locks;
  }

  /**
   * Lists the locks, within the time limit. A server that does not answer is not asked again by every page. Never rejects.
   * @param unviewed - aborted when nobody wants to see them any more.
   */
  async look(unviewed: AbortSignal): Promise<Look> {
    const listing = this.#currentListing(unviewed);
    const recent = this.#recent();
    const limit = recent?.wasSlow ? 0 : listing.startedAt + TIME_LIMIT_MS - performance.now();
    const listed = await within(limit, listing.result);
    if (!listed) return recent ? this.#show(recent, `${NO_ANSWER}; `) : this.#showSoFar(listing);
    return 'problem' in listed ? this.#missing(listed.problem) : this.#show(listed);
  }

  /**
   * What is known of its duplicates: of some seconds ago, or within the time limit. A server that does not answer is waited for once. Never
   * rejects: the look says what is wrong.
   */
  async journal(): Promise<JournalRecord> {
    const now = performance.now();
    if (!this.#reading) {
      const read = this.#readJournal().finally(() => {
        this.#reading = undefined;
      });
      this.#reading = { startedAt: now, read };
    }
    const { startedAt, read } = this.#reading;
    const isNew = now - this.#journalAt < MAX_UNSAID_AGE_MS;
    const limit = isNew ? 0 : startedAt + TIME_LIMIT_MS - now;
    return (await within(limit, read)) ?? this.#journal;
  }

  async #readJournal(): Promise<JournalRecord> {
    try {
      this.#journal = await this.#locks.admin.journal();
      this.#journalAt = performance.now();
    } catch {
      this.#journal = NO_JOURNAL;
    }
    return this.#journal;
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
    const { admin, findCache, datastores } = this.#locks;
    if (await admin.forceRelease(lock)) {
      datastores.of(await findCache()).hide(lock);
      return { released: true };
    }
    const reason = describeRefusal(await admin.get(lock));
    return { released: false, why: 'refused', problem: `the lock was not released: it ${reason}` };
  }

  #unknown(): ForceReleaseResult {
    const problem = `${this.label}: ${NO_ANSWER}; the lock may be released as soon as it does`;
    return { released: false, why: 'unknown', problem };
  }

  #currentListing(unviewed: AbortSignal): Listing {
    const now = performance.now();
    const current = this.#listing;
    if (current && !current.unviewed.aborted && now - current.startedAt < GIVE_UP_MS) return current;
    const listing: Listing = {
      startedAt: now,
      unviewed,
      result: this.#list(unviewed, datastore => {
        listing.datastore = datastore;
      }),
    };
    this.#listing = listing;
    void listing.result.then(listed => {
      if (this.#listing !== listing) return;
      this.#listing = undefined;
      if (!unviewed.aborted) this.#last = listed;
    });
    return listing;
  }

  async #list(unviewed: AbortSignal, onDatastore: (datastore: DatastoreLook) => void): Promise<Listed> {
    const startedAt = performance.now();
    try {
      const { findCache, prefix, datastores } = this.#locks;
      const cache = await findCache();
      const datastore = datastores.of(cache);
      onDatastore(datastore);
      const seen = await datastore.see(prefix, cache, unviewed);
      return { seen, datastore, wasSlow: performance.now() - startedAt > TIME_LIMIT_MS };
    } catch (error) {
      if (error instanceof LockAdminError) return { problem: error.message };
      if (!unviewed.aborted) this.#warn(error);
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
    return { ...look, problem: `${this.label}: ${why}${asOf}` };
  }

  /** The first look at very many locks takes longer than a page waits. */
  #showSoFar({ datastore }: Listing): Look {
    const seen = datastore?.soFar(this.#locks.prefix);
    if (!datastore || !seen) return this.#missing(NO_ANSWER);
    const problem = `${this.label}: its locks are still being read; these were found so far`;
    return { locks: datastore.stillHeld(seen), isCut: true, datastore, problem };
  }

  #missing(problem: string): Look {
    return { locks: [], isCut: false, problem: `${this.label}: ${problem}` };
  }

  /** What a driver says is for those who run the server, not for those who see the page. */
  #warn(error: unknown): void {
    const { message } = asError(error);
    warn('ONCE_BOARD_SOURCE', `the board can't reach the datastore of ${this.label}: ${message}`);
  }
}
