/**
 * Reserves the key of a job that failed or moved itself and will run again (`holdThroughRetries`), so that no duplicate runs in
 * between. Where it is known when the job comes back, the lease is extended until then. Else it is renewed while this process
 * lives and the job is unfinished. The job's next run reclaims the lease.
 */

import type { RunningJob } from '../bullmq/job.ts';
import { comesBackIn, willRunAgain } from '../bullmq/retries.ts';
import { timerDelay } from '../core/timers.ts';
import type { LockHandle } from '../lock/lock-handle.ts';

/** When a job is looked at first. In most cases BullMQ has recorded its failure by then. */
const FIRST_LOOK_MS = 100;
const FINISHED = ['completed', 'failed', 'unknown'];

/**
 * @param error - what the job's processor threw.
 * @returns whether the key stays held, because the job will run again.
 */
export async function reserve(
  handle: LockHandle,
  job: RunningJob,
  error: unknown,
  ttl: number,
): Promise<boolean> {
  if (!willRunAgain(job, error)) return false;
  const ms = comesBackIn(job, error);
  if (ms !== undefined) await handle.reserveFor(ms + ttl);
  // In a sandbox nothing more is known of the job.
  else if (!job.getState) await handle.reserveFor(ttl);
  else renewUntilKnown(handle, job, ttl);
  return true;
}

/** Renews until the next run reclaims the lease, the time of that run is known, or the job has finished otherwise. */
function renewUntilKnown(handle: LockHandle, job: RunningJob, ttl: number): void {
  const { attemptsMade } = job;
  const failedAt = Date.now();
  const look = async (): Promise<void> => {
    if (!handle.held) return;
    const state = await job.getState?.().catch(() => undefined);
    if (state !== undefined && FINISHED.includes(state)) {
      await handle.release();
      return;
    }
    // BullMQ counts the failure and records the delay on this very object.
    if (state === 'delayed' && job.attemptsMade !== attemptsMade && job.delay !== undefined) {
      await handle.reserveFor(Math.max(failedAt + job.delay - Date.now(), 0) + ttl);
      return;
    }
    setTimeout(look, timerDelay(ttl / 3)).unref();
  };
  setTimeout(look, Math.min(FIRST_LOOK_MS, ttl / 3)).unref();
}
