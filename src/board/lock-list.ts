/** Lists the locks of a board for its page. */

import type { LockInfo } from '../admin/lock-admin.ts';
import { asError } from '../core/errors.ts';
import { nameOfHolder } from '../core/holder.ts';
import type { ParsedBoardOptions } from './options.ts';

/** A lock, as the page shows it. */
export interface ShownLock extends LockInfo {
  /** The name of the queue or cache through which it was found. */
  readonly source: string;
  /** `job 17 of emails`, or the owner; empty for a value that no lock wrote. */
  readonly holderName: string;
}

export interface LockList {
  /** Those held longest come first. */
  readonly locks: readonly ShownLock[];
  /** There are more locks than are listed. */
  readonly isCut: boolean;
  /** Why locks of some sources are missing. */
  readonly problems: readonly string[];
}

const MAX_LOCKS = 500;

/** Lists as many locks as the page can show. A source that fails becomes a problem, and the others are listed. */
export async function listLocks(sources: ParsedBoardOptions['sources']): Promise<LockList> {
  const found: ShownLock[] = [];
  const problems: string[] = [];
  for (const [source, admin] of sources) {
    try {
      for await (const lock of admin.list()) {
        if (found.length > MAX_LOCKS) break;
        found.push({ ...lock, source, holderName: nameOfHolder(lock) });
      }
    } catch (error) {
      problems.push(`${source}: ${asError(error).message}`);
    }
  }
  const locks = found.slice(0, MAX_LOCKS).sort((a, b) => a.since - b.since);
  return { locks, isCut: found.length > MAX_LOCKS, problems };
}
