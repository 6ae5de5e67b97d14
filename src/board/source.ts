/** A queue or a cache whose locks a board shows. What its datastore does not answer holds up nothing else. */

import { describeRefusal, type LockAdmin, LockAdminError, type LockInfo } from '../admin/lock-admin.ts';
import type { JournalRecord } from '../cache/contract.ts';
import { asError } from '../core/errors.ts';
import { warn } from '../core/warnings.ts';
import { within } from '../core/within.ts';
import { type LockSearch, nameOfSearch } from './lock-search.ts';
import { SourceJournal } from './source-journal.ts';
import { type LockFinder, type Look, NO_ANSWER, SourceLook, TIME_LIMIT_MS } from './source-look.ts';

/** Viewers search for different locks. What was found of more searches than these is forgotten. */
const MAX_LOOKS = 20;

/** What came of a force release. */
export type ForceReleaseResult =
  | { readonly released: true }
  | { readonly released: false; readonly why: 'refused' | 'unknown'; readonly problem: string };

/** How a {@link Source} reaches its locks. */
export interface SourceLocks extends LockFinder {
  readonly admin: LockAdmin;
}

export class Source {
  /** The name by which the page tells it from others. */
  readonly label: string;
  /** It is one queue. A cache may have locks of many. */
  readonly isQueue: boolean;
  /** The name of that queue, without its prefix. */
  readonly queueName: string | undefined;
  readonly #locks: SourceLocks;
  /** By what they look for. */
  readonly #looks = new Map<string, SourceLook>();
  readonly #journal: SourceJournal;

  constructor(label: string, locks: SourceLocks, { queueName }: { readonly queueName: string | undefined }) {
    this.label = label;
    this.isQueue = queueName !== undefined;
    this.queueName = queueName;
    this.#locks = locks;
    this.#journal = new SourceJournal(locks.admin);
  }

  /**
   * Lists those of its locks that are wanted, within the time limit. A server that does not answer is not asked again by every page. Never
   * rejects.
   * @param unviewed - aborted when nobody wants to see them any more.
   */
  look(search: LockSearch, unviewed: AbortSignal): Promise<Look> {
    return this.#lookFor(search).at(unviewed);
  }

  #lookFor(search: LockSearch): SourceLook {
    const name = nameOfSearch(search);
    const look =
      this.#looks.get(name) ?? new SourceLook(this.label, search, this.#locks, error => this.#warn(error));
    this.#looks.delete(name);
    this.#looks.set(name, look);
    const [oldest] = this.#looks.keys();
    if (this.#looks.size > MAX_LOOKS) this.#looks.delete(oldest as string);
    return look;
  }

  /** What is known of its duplicates, within the time limit. Never rejects: the look says what is wrong. */
  journal(): Promise<JournalRecord> {
    return this.#journal.read();
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

  /** What a driver says is for those who run the server, not for those who see the page. */
  #warn(error: unknown): void {
    const { message } = asError(error);
    warn('ONCE_BOARD_SOURCE', `the board can't reach the datastore of ${this.label}: ${message}`);
  }
}
