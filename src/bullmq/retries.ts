/** Whether BullMQ will run a job again whose processor threw, and when. */

import { factsOf } from '../core/errors.ts';
import { mayStartAgain } from './delay.ts';
import type { RunningJob } from './job.ts';

/** BullMQ recognises these by their names: the processor has moved the job itself. */
const MOVED = ['DelayedError', 'WaitingError', 'WaitingChildrenError'];
/** BullMQ recognises this one by its message. */
const RATE_LIMITED = 'bullmq:rateLimitExceeded';

/** Whether the job will run again: its processor moved it, or BullMQ retries it. */
export function willRunAgain(job: RunningJob, error: unknown): boolean {
  return wasMoved(error) || willBeRetried(job, error);
}

/** In how many ms the job comes back, where that is known. */
export function comesBackIn(job: RunningJob, error: unknown): number | undefined {
  return wasMoved(error) ? movedFor(job, error) : longestBackoff(job);
}

/** The longest time until a failed job is retried, in ms; `undefined` where the user's function decides. */
export function longestBackoff({ attemptsMade = 0, opts }: RunningJob): number | undefined {
  const backoff = opts?.backoff;
  if (!backoff) return 0;
  if (typeof backoff === 'number') return backoff;
  const { type, delay = 0 } = backoff;
  if (type === 'fixed') return delay;
  // Jitter makes it shorter, never longer.
  return type === 'exponential' ? Math.round(2 ** attemptsMade * delay) : undefined;
}

function wasMoved(error: unknown): boolean {
  const { name, message } = factsOf(error);
  return MOVED.includes(name as string) || message === RATE_LIMITED;
}

/**
 * Whether BullMQ retries a job that failed with this error. A custom backoff may still say no; the job is found failed then.
 * @see https://docs.bullmq.io/guide/retrying-failing-jobs
 */
function willBeRetried(job: RunningJob, error: unknown): boolean {
  if (factsOf(error).name === 'UnrecoverableError') return false;
  const { attemptsMade = 0, opts } = job;
  return mayStartAgain(job) && attemptsMade + 1 < (opts?.attempts ?? 1);
}

/** `moveToDelayed` records on the job how long. In a sandbox it does not. */
function movedFor({ delay, getState }: RunningJob, error: unknown): number | undefined {
  return factsOf(error).name === 'DelayedError' && getState ? delay : undefined;
}
