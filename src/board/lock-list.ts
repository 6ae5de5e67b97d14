/** Lists the locks of a board for its page. */

import { describeResult, type LockInfo } from '../admin/lock-admin.ts';
import { describeLockLine } from '../admin/lock-line.ts';
import { getOrCreate } from '../core/get-or-create.ts';
import { nameOfHolder } from '../core/holder.ts';
import type { JobUrl } from './job-url.ts';
import { byImportance, MAX_LOCKS } from './kept-locks.ts';
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

export interface LockList {
  /** Those that run come first, and of these those that are held longest. */
  readonly locks: readonly ShownLock[];
  /** There are more locks than are listed. */
  readonly isCut: boolean;
  /** Why locks of some sources are missing. */
  readonly problems: readonly string[];
}

/**
 * Lists as many locks as the page can show. A source that fails becomes a problem, and the others are listed.
 * @param unviewed - aborted when nobody wants to see them any more.
 */
export async function listLocks(
  { sources, jobUrl }: ParsedBoardOptions,
  unviewed: AbortSignal,
): Promise<LockList> {
  const looks = await Promise.all(
    [...sources.values()].map(async source => ({ source, ...(await source.look(unviewed)) })),
  );
  const isSeen = seenBefore();
  const found = looks.flatMap(({ source, datastore, locks }) =>
    locks
      // A cache may have the locks of a queue that is shown too.
      .filter(({ storedKey }) => !isSeen(datastore, storedKey, source))
      .map(lock => shownLock(lock, source, { isOnly: sources.size === 1, jobUrl })),
  );
  const locks = found.sort(byImportance).slice(0, MAX_LOCKS);
  const isCut = found.length > MAX_LOCKS || looks.some(look => look.isCut);
  const problems = looks.flatMap(({ problem = [] }) => problem);
  return { locks, isCut, problems };
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
