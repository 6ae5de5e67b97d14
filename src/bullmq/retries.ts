/**
 * Holds a key for a job that failed or moved itself and will run again, so that no duplicate slips in between. Where it is
 * known when it comes back, the lease is extended until then; else it is renewed while this process lives and the job
 * is unfinished. The job's next run takes the lease over.
 */

import type { HeldLock } from '../lock/lock-handle.ts';
import { mayStartAgain, type RunningJob } from './delay.ts';

/** What of a job is asked for to know whether it will run again. */
export interface FailingJob extends RunningJob {
  /** In ms: for how long it was delayed last. */
  readonly delay?: number;
  readonly opts?: {
    readonly attempts?: number;
    readonly backoff?: number | { readonly type: string; readonly delay?: number };
  };
  getState?(): Promise<string>;
}

/** BullMQ knows these by their names. The job is where its processor has put it. */
const MOVED = ['DelayedError', 'WaitingError', 'WaitingChildrenError'];
/** BullMQ knows this error by its message. */
const RATE_LIMITED = 'bullmq:rateLimitExceeded';

/** How soon a job is looked at for the first time, in ms. BullMQ has recorded its failure by then, mostly. */
const FIRST_LOOK = 100;
const FINISHED = ['completed', 'failed', 'unknown'];

/** @returns whether the lock is held on to, as its job will run again. */
export async function holdOn(lock: HeldLock, job: FailingJob, error: unknown, ttl: number): Promise<boolean> {
  if (!runsAgain(job, error)) return false;
  const comesBackIn = wasMoved(error) ? movedFor(job, error) : longestBackoff(job);
  if (comesBackIn !== undefined) await lock.leave(comesBackIn + ttl);
  // In a sandbox nothing more is known of the job.
  else if (!job.getState) await lock.leave(ttl);
  else lookAfter(lock, job, ttl);
  return true;
}

/** Whether a job whose processor threw this is to run again: it was moved, or BullMQ will retry it. */
export function runsAgain(job: FailingJob, error: unknown): boolean {
  return wasMoved(error) || willBeRetried(job, error);
}

function wasMoved(error: unknown): boolean {
  const { name, message } = (error ?? {}) as { name?: string; message?: string };
  return MOVED.includes(name ?? '') || message === RATE_LIMITED;
}

/**
 * Whether BullMQ will run a job again that failed so. A custom backoff may still say no; then the job is found failed.
 * @see https://docs.bullmq.io/guide/retrying-failing-jobs
 */
function willBeRetried(job: FailingJob, error: unknown): boolean {
  if ((error as { name?: string } | null)?.name === 'UnrecoverableError') return false;
  const { attemptsMade = 0, opts } = job;
  return mayStartAgain(job) && attemptsMade + 1 < (opts?.attempts ?? 1);
}

/** The longest time until a failed job is retried, in ms; unknown where a function of the user's decides. */
export function longestBackoff({ attemptsMade = 0, opts }: FailingJob): number | undefined {
  const backoff = opts?.backoff;
  if (!backoff) return 0;
  if (typeof backoff === 'number') return backoff;
  const { type, delay = 0 } = backoff;
  if (type === 'fixed') return delay;
  // Jitter makes it shorter, never longer.
  return type === 'exponential' ? Math.round(2 ** attemptsMade * delay) : undefined;
}

/** `moveToDelayed` notes on the job for how long. In a sandbox it does not. */
function movedFor({ delay, getState }: FailingJob, error: unknown): number | undefined {
  return (error as { name?: string }).name === 'DelayedError' && getState ? delay : undefined;
}

/** Renews until the next run takes over, it is known when that comes, or the job has finished otherwise. */
function lookAfter(lock: HeldLock, job: FailingJob, ttl: number): void {
  const { attemptsMade } = job;
  const leftAt = Date.now();
  const look = async (): Promise<void> => {
    if (!lock.held) return;
    const state = await job.getState?.().catch(() => undefined);
    if (state !== undefined && FINISHED.includes(state)) {
      await lock.release();
      return;
    }
    // BullMQ counts the failure and notes the delay on this very job once both are recorded.
    if (state === 'delayed' && job.attemptsMade !== attemptsMade && job.delay !== undefined) {
      await lock.leave(Math.max(leftAt + job.delay - Date.now(), 0) + ttl);
      return;
    }
    setTimeout(look, ttl / 3).unref();
  };
  setTimeout(look, Math.min(FIRST_LOOK, ttl / 3)).unref();
}
