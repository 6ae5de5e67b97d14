/** Lists the locks of a board for its page. */

import type { LockInfo } from '../admin/lock-admin.ts';
import { nameOfHolder } from '../core/holder.ts';
import { byImportance, MAX_LOCKS } from './kept-locks.ts';
import type { ParsedBoardOptions } from './options.ts';
import type { Look, Source } from './source.ts';

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
export async function listLocks({ sources }: ParsedBoardOptions, unviewed: AbortSignal): Promise<LockList> {
  const looks = await Promise.all(
    [...sources.values()].map(async source => ({ source, ...(await source.look(unviewed)) })),
  );
  const isSeen = seenBefore();
  const found = looks.flatMap(({ source, datastore, locks }) =>
    locks
      // A cache may have the locks of a queue that is shown too.
      .filter(({ storedKey }) => !isSeen(datastore, storedKey))
      .map(lock => shownLock(lock, source, { isOnly: sources.size === 1 })),
  );
  const locks = found.sort(byImportance).slice(0, MAX_LOCKS);
  const isCut = found.length > MAX_LOCKS || looks.some(look => look.isCut);
  const problems = looks.flatMap(({ problem = [] }) => problem);
  return { locks, isCut, problems };
}

/** Creates a function that says whether it was called with a stored key of a datastore before. */
function seenBefore(): (datastore: Look['datastore'], storedKey: string) => boolean {
  const seen = new Map<Look['datastore'], Set<string>>();
  return (datastore, storedKey) => {
    const storedKeys = seen.get(datastore) ?? new Set();
    if (storedKeys.has(storedKey)) return true;
    seen.set(datastore, storedKeys.add(storedKey));
    return false;
  };
}

function shownLock(
  lock: LockInfo,
  { label, isQueue }: Source,
  { isOnly }: { readonly isOnly: boolean },
): ShownLock {
  const cache = isQueue || isOnly ? {} : { cache: label };
  const place = isQueue ? label : placeOf(lock);
  return { ...lock, source: label, place, ...cache, holderName: nameOfHolder(lock) };
}

function placeOf({ queue, scope }: LockInfo): string {
  return queue ?? (scope === undefined ? '' : `scope ${scope}`);
}
