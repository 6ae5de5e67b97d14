/**
 * Keeps the order of handing out where two workers fetch two jobs of a key in the same moment: the later one gives way to the earlier one
 * until that has asked for the key.
 */

import type { HandedOut, Jobs } from '../bullmq/handed-out.ts';
import { ownerOf } from '../bullmq/job.ts';
import { CacheError } from '../core/errors.ts';
import { within } from '../core/within.ts';
import type { GuardedJob } from './strategy.ts';

/** How long to wait while nobody of the earlier jobs moves on: their process may stand still. */
const MAX_STANDSTILL_MS = 1000;
/** How long to give way at most. Many jobs of one key may have been handed out in the same moment. */
const MAX_GIVE_WAY_MS = 10_000;
/** The longest pause before the earlier jobs are looked at again. */
const MAX_PAUSE_MS = 50;

/** Waits for the jobs that were handed out earlier, have the same key, and have not asked for it yet. */
export async function giveWay(work: GuardedJob, jobs: Jobs): Promise<void> {
  const { ttl } = work.request.terms;
  const end = performance.now() + Math.min(MAX_GIVE_WAY_MS, ttl);
  let before = await handedOutBefore(work, jobs);
  if (before.length === 0) return;
  // One of this process gives way to those before it: it asks about them.
  const here = before.at(-1)?.entered;
  if (here) await within(end - performance.now(), here());
  const startedAt = performance.now();
  let movedAt = startedAt;
  let lastLate: readonly string[] = [];
  for (;;) {
    const late = await lateOwners(work, before);
    const now = performance.now();
    if (late.join() !== lastLate.join()) movedAt = now;
    lastLate = late;
    const isStill = now - movedAt > Math.min(MAX_STANDSTILL_MS, ttl / 2);
    if (late.length === 0 || isStill || now > end) return;
    // Nearly all have entered within a few ms.
    const pause = Math.min((now - startedAt) / 4, MAX_PAUSE_MS);
    await new Promise(resolve => (pause < 1 ? setImmediate(resolve) : setTimeout(resolve, pause)));
    before = await handedOutBefore(work, jobs);
  }
}

/** @throws CacheError BullMQ's list of active jobs could not be read. */
async function handedOutBefore(work: GuardedJob, jobs: Jobs): Promise<HandedOut[]> {
  const { job, request } = work;
  const { key, storedKey } = request.terms;
  try {
    return await jobs.before(job, storedKey, other => work.storedKeyOf(other));
  } catch (cause) {
    const error = new CacheError(key, 'the jobs that were handed out earlier could not be read', { cause });
    request.emitCacheError('acquire', error);
    throw error;
  }
}

/**
 * Those of other processes that neither hold the key nor are parked for it. One that has left the key already is not active much longer;
 * or it let go of the key long before its end: so one that was handed out long ago does not count.
 */
async function lateOwners({ request }: GuardedJob, before: readonly HandedOut[]): Promise<string[]> {
  const oldest = Date.now() - MAX_GIVE_WAY_MS;
  const owners = before.flatMap(({ entered, job }) =>
    entered || !job || (job.processedOn ?? oldest) < oldest ? [] : [ownerOf(job)],
  );
  const lines = owners.length === 0 ? [] : await request.findLines(owners);
  return owners.filter((_, i) => !lines[i]?.holds && lines[i]?.ahead === undefined);
}
