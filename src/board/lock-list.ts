/** Lists the locks of a board for its page. */

import { describeResult, type LockInfo } from '../admin/lock-admin.ts';
import { describeLockLine } from '../admin/lock-line.ts';
import { getOrCreate } from '../core/get-or-create.ts';
import { nameOfHolder } from '../core/holder.ts';
import type { JobUrl } from './job-url.ts';
import { byImportance, MAX_LOCKS } from './kept-locks.ts';
import type { LockQuery } from './lock-search.ts';
import type { ParsedBoardOptions } from './options.ts';
import type { Source } from './source.ts';
import type { Look } from './source-look.ts';

/** A lock, as the page shows it. */
export interface ShownLock extends LockInfo {
  /** The label of the queue or cache through which it was found. */
  readonly source: string;
  /** Its queue or scope. Of two queues with one name, each has a label of its own. */
  readonly place: string;
  /** The name of its cache, where several queues or caches are shown. */
  readonly cache?: string;
  /** `job 17 of emails`, or the owner; empty for a value that no lock wrote. */
  readonly holderName: string;
  /** Where its job is shown. */
  readonly holderUrl?: string;
  /** `2 hold it, 12 parked, next: job 18 of emails`, where the key has a line. */
  readonly lineText?: string;
  /** `result: 1.2 kB kept`, where the result of work that was done is kept. */
  readonly resultText?: string;
}

/** So many locks are on one page. */
export const PAGE_LOCKS = 100;

export interface LockList {
  /** The locks of one page. Those that run come first, and of these those that are held longest. */
  readonly locks: readonly ShownLock[];
  /** How many locks are on all pages. */
  readonly count: number;
  /** There are more locks than these. */
  readonly isCut: boolean;
  /** Which page it is, counted from 1: the last one, if less than was asked for are left. */
  readonly page: number;
  readonly pages: number;
  /** Why locks of some sources are missing. */
  readonly problems: readonly string[];
}

/**
 * Lists a page of the locks that are wanted. A source that fails becomes a problem, and the others are listed.
 * @param unviewed - aborted when nobody wants to see them any more.
 */
export async function listLocks(
  { sources, jobUrl }: ParsedBoardOptions,
  { search, source: only, page: wantedPage }: LockQuery,
  unviewed: AbortSignal,
): Promise<LockList> {
  const wanted = [...sources.values()].filter(({ label }) => only === undefined || label === only);
  const looks = await Promise.all(
    wanted.map(async source => ({ source, ...(await source.look(search, unviewed)) })),
  );
  const isSeen = seenBefore();
  const found = looks.flatMap(({ source, datastore, locks }) =>
    locks
      // A cache may have the locks of a queue that is shown too.
      .filter(({ storedKey }) => !isSeen(datastore, storedKey, source))
      .map(lock => ({ lock, source })),
  );
  const kept = found.sort((a, b) => byImportance(a.lock, b.lock)).slice(0, MAX_LOCKS);
  const pages = Math.max(Math.ceil(kept.length / PAGE_LOCKS), 1);
  const page = Math.min(wantedPage, pages);
  return {
    locks: kept
      .slice((page - 1) * PAGE_LOCKS, page * PAGE_LOCKS)
      .map(({ lock, source }) => shownLock(lock, source, { isOnly: sources.size === 1, jobUrl })),
    count: kept.length,
    isCut: found.length > MAX_LOCKS || looks.some(look => look.isCut),
    page,
    pages,
    problems: looks.flatMap(({ problem = [] }) => problem),
  };
}

/** Creates a function that says whether another source has shown a stored key of a datastore. One may show several holders of it. */
function seenBefore(): (datastore: Look['datastore'], storedKey: string, source: Source) => boolean {
  const seen = new Map<Look['datastore'], Map<string, Source>>();
  return (datastore, storedKey, source) => {
    const shownBy = getOrCreate(seen, datastore, () => new Map<string, Source>());
    return getOrCreate(shownBy, storedKey, () => source) !== source;
  };
}

function shownLock(
  lock: LockInfo,
  { label, isQueue }: Source,
  { isOnly, jobUrl }: { readonly isOnly: boolean; readonly jobUrl: JobUrl },
): ShownLock {
  const cache = isQueue || isOnly ? {} : { cache: label };
  const place = isQueue ? label : placeOf(lock);
  const line = lock.line ? { lineText: describeLockLine(lock.line) } : {};
  const url = jobUrl(lock);
  const holder = { holderName: nameOfHolder(lock), ...(url !== undefined && { holderUrl: url }) };
  const kept = describeResult(lock);
  const result = kept === undefined ? {} : { resultText: `result: ${kept}` };
  return { ...lock, source: label, place, ...cache, ...holder, ...line, ...result };
}

function placeOf({ queue, scope }: LockInfo): string {
  return queue ?? (scope === undefined ? '' : `scope ${scope}`);
}
