/**
 * Makes sure that a job still belongs to its worker, where the guard got it late: it waited for its key, or its process stood
 * still. It may have stalled and been run elsewhere meanwhile, and a key that is free again does not show that.
 */

import { lockDurationOf, type RunningJob } from './job.ts';

/**
 * Whether the job may have stalled since BullMQ handed it out. BullMQ's own lock on it was its worker's then, and is at least
 * for half of `lockDuration` after.
 * @param receivedAt - when the guard got the job, on the monotonic clock. `processedOn` shows if its process stood still before.
 */
export function mayHaveStalled(job: RunningJob, receivedAt: number): boolean {
  const lockDuration = lockDurationOf(job);
  if (lockDuration === undefined) return false;
  const sinceReceived = performance.now() - receivedAt;
  const now = Date.now();
  const sinceAskedFor = now - (job.processedOn ?? now);
  // The clock may have been set back since: then nothing is known.
  return sinceAskedFor < 0 || Math.max(sinceReceived, sinceAskedFor) > lockDuration / 2;
}

/** Whether BullMQ's own lock on the job is still its worker's, as far as can be known. Extends it. */
export async function isStillOwned(job: RunningJob, token: string | undefined): Promise<boolean> {
  return (await extendLock(job, token)) ?? true;
}

/** Whether BullMQ says that this is the job's current run. Extends its lock. */
export async function isCurrentRun(job: RunningJob, token: string | undefined): Promise<boolean> {
  return (await extendLock(job, token)) ?? false;
}

/** @returns whether the lock was the token's; `undefined` where that can't be known. */
async function extendLock(job: RunningJob, token: string | undefined): Promise<boolean | undefined> {
  const lockDuration = lockDurationOf(job);
  if (lockDuration === undefined || token === undefined || !job.extendLock) return undefined;
  // A client may be told to give numbers as strings.
  return Number(await job.extendLock(token, lockDuration)) === 1;
}
