/** For operators: who holds a key beside a lock that is shown, and who is parked for it. */

import type { LineRecord, LockCache } from '../cache/contract.ts';
import { type Holder, nameOfHolder } from '../core/holder.ts';
import { jobOfOwner } from '../key/owner-id.ts';

/** How the line of a key stands. */
export interface LockLine {
  /** How many hold the key: of its places (`concurrency`) so many are taken. */
  readonly held: number;
  /** How many jobs are parked for it. */
  readonly parked: number;
  /** The one whose turn is next. Absent where nobody is parked. */
  readonly next?: Pick<Holder, 'owner' | 'jobId' | 'queueName'>;
}

/** Adds to each lock the line of its key, where there is one. Each key is asked about once. Never rejects. */
export async function withLines<Lock extends { readonly storedKey: string }>(
  cache: LockCache,
  locks: readonly Lock[],
): Promise<(Lock & { readonly line?: LockLine })[]> {
  const lines = await readLines(cache, [...new Set(locks.map(({ storedKey }) => storedKey))]);
  return locks.map(lock => {
    const line = lines.get(lock.storedKey);
    return line && (line.held > 1 || line.parked > 0) ? { ...lock, line: shownLine(line) } : lock;
  });
}

/** How the line of one key stands; `undefined` where the cache has no lines, or it can't be read. Never rejects. */
export async function readLine(cache: LockCache, storedKey: string): Promise<LineRecord | undefined> {
  return (await readLines(cache, [storedKey])).get(storedKey);
}

/** `2 hold it, 12 parked, next: job 18 of emails`. For people: printable, and not too long. */
export function describeLockLine({ held, parked, next }: LockLine): string {
  const parts = [
    held > 1 && `${held} hold it`,
    parked > 0 && `${parked} parked`,
    next && `next: ${nameOfHolder(next)}`,
  ];
  return parts.filter(Boolean).join(', ');
}

/** A line that can't be read hides no lock. */
async function readLines(
  cache: LockCache,
  storedKeys: readonly string[],
): Promise<ReadonlyMap<string, LineRecord>> {
  const found = new Map<string, LineRecord>();
  if (!cache.lines || storedKeys.length === 0) return found;
  try {
    const queries = storedKeys.map(storedKey => ({ storedKey, owner: '' }));
    for (const [i, line] of (await cache.lines(queries)).entries()) {
      if (!(line instanceof Error)) found.set(storedKeys[i] as string, line);
    }
  } catch {
    // The locks themselves were read.
  }
  return found;
}

function shownLine({ held, parked, head }: LineRecord): LockLine {
  if (head === undefined) return { held, parked };
  const job = jobOfOwner(head);
  const named = job && { jobId: job.jobId, queueName: job.queueName };
  return { held, parked, next: { owner: head, ...named } };
}
