/**
 * Makes sure that a job which had to wait for its key is still its worker's, or one that came late. It may have stalled, and
 * have been run elsewhere: then its key is free again, and tells nothing of it.
 */

import type { JobLike } from './job.ts';
import { lockDurationOf } from './queue-cache.ts';

/** What of a job that a worker runs is asked for; in a sandbox it is not there. */
interface LockedJob extends JobLike {
  readonly processedOn?: number | undefined;
  /** Answers 1 where BullMQ's own lock on the job was this token's, else 0. */
  extendLock?(token: string, duration: number): Promise<number>;
}

/**
 * Whether a job may have stalled since BullMQ handed it out: its own lock on it was its worker's then, and for half of its duration
 * after, at least.
 * @param since - when it came here, on the monotonic clock. A process that stood still got it late: `processedOn` is the time by its
 * own clock at which it asked for it.
 */
export function mayHaveStalled(job: LockedJob, since: number): boolean {
  const lockDuration = lockDurationOf(job);
  if (lockDuration === undefined) return false;
  const waited = Math.max(
    performance.now() - since,
    Date.now() - (job.processedOn ?? Number.POSITIVE_INFINITY),
  );
  return waited > lockDuration / 2;
}

/** Whether BullMQ's own lock on a job is still its worker's. */
export async function isStillOurs(job: LockedJob, token: string | undefined): Promise<boolean> {
  const lockDuration = lockDurationOf(job);
  if (lockDuration === undefined || token === undefined || !job.extendLock) return true;
  return (await job.extendLock(token, lockDuration)) === 1;
}
