/**
 * Frees leases whose run is over though nobody has released them: an older run of the same job, and a job that BullMQ has
 * finished without its process (a sandboxed child that died, a job that stalled too often). Each is freed by its fence, so that
 * an acquisition that came meanwhile stays.
 */

import { hasRunBefore } from '../bullmq/job.ts';
import { isInSandbox, lookUpJob, type StoredJob } from '../bullmq/job-lookup.ts';
import { isCurrentRun } from '../bullmq/job-ownership.ts';
import type { Holder } from '../core/holder.ts';
import type { GuardedJob } from '../duplicates/strategy.ts';
import { jobOfOwner } from '../lock/owner-id.ts';

/** A lease is renewed long before this part of its ttl has passed. */
const OVERDUE_PART = 1 / 2;
/** BullMQ gives this reason to a job whose process it lost sight of: the process may still be at work. */
const STALLED = 'stalled more than allowable';

/** @returns whether the holder's run is over, and its key was freed. */
export async function freeIfAbandoned(work: GuardedJob, holder: Holder): Promise<boolean> {
  const { cache, terms } = work.request;
  if (holder.state !== 'running' || !cache.forceRelease) return false;
  const isOwn = holder.owner === terms.owner;
  if (!(await (isOwn ? isOlderRun(work) : hasEnded(work, holder)))) return false;
  const [freed] = await cache.forceRelease([{ storedKey: terms.storedKey, fence: holder.fence }]);
  return freed === true;
}

/**
 * Whether a lease of the job's own is an older run's, though its number is not lower: `job.retry()` may count the starts of a job
 * anew. BullMQ says which run is the current one. A job that never ran before is another one, which was given the id and the time
 * of a removed job.
 */
async function isOlderRun({ job, token }: GuardedJob): Promise<boolean> {
  return hasRunBefore(job) && (await isCurrentRun(job, token));
}

/**
 * Whether BullMQ has finished or removed the holder's job. In a worker it is asked only about a lease that was not renewed when it
 * was due: everyone else releases. A sandboxed child may die at any time.
 */
async function hasEnded({ job, request }: GuardedJob, holder: Holder): Promise<boolean> {
  const isOverdue = holder.expiresIn < request.terms.ttl * OVERDUE_PART;
  if (!isOverdue && !isInSandbox(job)) return false;
  const other = jobOfOwner(holder.owner);
  if (other?.queueQualifiedName !== job.queueQualifiedName) return false;

  let found: StoredJob | undefined | 'unknown';
  try {
    found = await lookUpJob(job, other.jobId, request.cache);
  } catch {
    // Then the lease is all that is known.
    return false;
  }
  if (found === 'unknown') return false;
  const isSame = found?.timestamp === other.timestamp;
  if (!found || !isSame) return true;
  if (found.finishedOn === undefined) return false;
  return isOverdue || !found.failedReason?.includes(STALLED);
}
