/**
 * Frees keys that nobody will release: those of an older run of the same job, of a job that BullMQ has finished without its
 * process (a sandboxed child that died, a job that stalled too often), and those reserved for a job that will not run again.
 * Each is freed by its fence, so that an acquisition that came meanwhile stays.
 */

import { hasRunBefore, isInSandbox } from '../bullmq/job.ts';
import { isAncestor, type JobFate, lookUpJob } from '../bullmq/job-lookup.ts';
import { isCurrentRun, isStillOwned } from '../bullmq/job-ownership.ts';
import { KeyError } from '../core/errors.ts';
import { type Holder, nameOfHolder } from '../core/holder.ts';
import { shown } from '../core/printable.ts';
import type { GuardedJob } from '../duplicates/strategy.ts';
import { jobOfOwner } from '../key/owner-id.ts';

/** A lease is renewed long before this part of its ttl has passed. */
const OVERDUE_PART = 1 / 2;

/**
 * @returns whether the key was freed, by this job or by another that has found the same.
 * @throws KeyError the key is reserved by an ancestor of the job, which waits for the job.
 * @throws CacheError the key could not be freed.
 */
export function freeIfAbandoned(work: GuardedJob, holder: Holder): Promise<boolean> | false {
  return mayBeAbandoned(work, holder) && askAndFree(work, holder);
}

/**
 * Whether BullMQ is to be asked about the holder. In a worker it is asked only about a lease that was not renewed when it was due:
 * everyone else releases. A sandboxed child may die at any time.
 */
function mayBeAbandoned({ job, request }: GuardedJob, holder: Holder): boolean {
  const { state, owner } = holder;
  if (state === 'reserved') return true;
  return state === 'running' && (owner === request.terms.owner || isOverdue(holder) || isInSandbox(job));
}

async function askAndFree(work: GuardedJob, holder: Holder): Promise<boolean> {
  if (!(await isAbandoned(work, holder))) return false;
  await work.request.forceRelease(holder.fence);
  return true;
}

async function isAbandoned(work: GuardedJob, holder: Holder): Promise<boolean> {
  if (holder.owner === work.request.terms.owner) return isOlderRun(work, holder);
  return holder.state === 'running' ? hasEnded(work, holder) : willNotComeBack(work, holder);
}

function isOverdue({ expiresIn, ttl }: Holder): boolean {
  return expiresIn < ttl * OVERDUE_PART;
}

/**
 * Whether a lease or a reservation of the job's own is an older run's, though its number is not lower: `job.retry()` may count the
 * starts of a job anew. BullMQ says which run is the current one. A lease may also be that of a removed job, whose id and time
 * another job was given and whose work may go on: then the job never ran before. Of a reservation the work has ended.
 */
async function isOlderRun({ job, token }: GuardedJob, { state }: Holder): Promise<boolean> {
  if (state === 'reserved') return isStillOwned(job, token);
  return hasRunBefore(job) && (await isCurrentRun(job, token));
}

/** Whether BullMQ has finished or removed a job that still holds the key. */
async function hasEnded(work: GuardedJob, holder: Holder): Promise<boolean> {
  const fate = await fateOfHolder(work, holder);
  return fate === 'finished' || (isOverdue(holder) && (fate === 'given-up' || fate === 'gone'));
}

/**
 * Whether the key is reserved for a job that BullMQ has finished or removed. Where BullMQ can't be asked, its time must be over. A
 * question that was not answered decides nothing: a connection that is lost does not show that the job will not come back.
 */
async function willNotComeBack(work: GuardedJob, holder: Holder): Promise<boolean> {
  const { job, request } = work;
  const other = jobOfOwner(holder.owner);
  if (other && job.parentKey && (await isAncestor(other, job, request.cache))) {
    throw new KeyError(
      `the key '${shown(holder.key)}' is reserved by the job's own parent, ${nameOfHolder(holder)}, which waits for it: ` +
        'give the two different keys, or leave holdThroughRetries out for the parent',
    );
  }
  const fate = await fateOfHolder(work, holder);
  if (fate === 'unknown') return (holder.dueIn ?? 0) < -holder.ttl;
  return fate !== 'to-run' && fate !== 'unanswered';
}

/** A job that is not found may be on another server, whose queue has the same name and shares the cache. */
async function fateOfHolder({ job, request, hasOwnCache }: GuardedJob, { owner }: Holder): Promise<JobFate> {
  const fate = await lookUpJob(job, jobOfOwner(owner), request.cache, request.terms.ttl);
  return fate === 'gone' && !hasOwnCache ? 'unknown' : fate;
}
