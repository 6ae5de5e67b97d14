/**
 * Frees keys that nobody will release: those of an older run of the same job, of a job that BullMQ has finished without its
 * process (a sandboxed child that died, a job that stalled too often), and those reserved for a job that will not run again.
 * Each is freed by its fence, so that an acquisition that came meanwhile stays.
 */

import { hasRunBefore, isInSandbox } from '../bullmq/job.ts';
import { lookUpJob } from '../bullmq/job-lookup.ts';
import { isCurrentRun } from '../bullmq/job-ownership.ts';
import { KeyError } from '../core/errors.ts';
import { type Holder, nameOfHolder } from '../core/holder.ts';
import { shown } from '../core/printable.ts';
import type { GuardedJob } from '../duplicates/strategy.ts';
import { jobOfOwner } from '../lock/owner-id.ts';

/** A lease is renewed long before this part of its ttl has passed. */
const OVERDUE_PART = 1 / 2;
/** BullMQ gives this reason to a job whose process it lost sight of: the process may still be at work. */
const STALLED = 'stalled more than allowable';

/**
 * @returns whether the key was freed.
 * @throws KeyError the key is reserved by the job's own parent, which waits for the job.
 */
export async function freeIfAbandoned(work: GuardedJob, holder: Holder): Promise<boolean> {
  const { cache, terms } = work.request;
  if (!cache.forceRelease || !(await isAbandoned(work, holder))) return false;
  const [freed] = await cache.forceRelease([{ storedKey: terms.storedKey, fence: holder.fence }]);
  return freed === true;
}

async function isAbandoned(work: GuardedJob, holder: Holder): Promise<boolean> {
  const { state, owner } = holder;
  if (state !== 'running' && state !== 'reserved') return false;
  if (owner === work.request.terms.owner) return isOlderRun(work);
  return state === 'running' ? hasEnded(work, holder) : willNotComeBack(work, holder);
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
 * Whether BullMQ has finished or removed a job that still holds the key. In a worker it is asked only about a lease that was not
 * renewed when it was due: everyone else releases. A sandboxed child may die at any time.
 */
async function hasEnded({ job, request }: GuardedJob, holder: Holder): Promise<boolean> {
  const isOverdue = holder.expiresIn < request.terms.ttl * OVERDUE_PART;
  if (!isOverdue && !isInSandbox(job)) return false;
  const found = await lookUpJob(job, jobOfOwner(holder.owner), request.cache);
  if (found === 'unknown') return false;
  if (found === 'gone') return true;
  if (found.finishedOn === undefined) return false;
  return isOverdue || !found.failedReason?.includes(STALLED);
}

/** Whether the key is reserved for a job that BullMQ has finished or removed. Where BullMQ can't be asked, its time must be over. */
async function willNotComeBack({ job, request }: GuardedJob, holder: Holder): Promise<boolean> {
  const other = jobOfOwner(holder.owner);
  if (other && job.parentKey === `${other.queueQualifiedName}:${other.jobId}`) {
    throw new KeyError(
      `the key '${shown(holder.key)}' is reserved by the job's own parent, ${nameOfHolder(holder)}, which waits for it: ` +
        'give the two different keys, or leave holdThroughRetries out for the parent',
    );
  }
  const found = await lookUpJob(job, other, request.cache);
  if (found === 'unknown') return (holder.dueIn ?? 0) < -request.terms.ttl;
  return found === 'gone' || found.finishedOn !== undefined;
}
