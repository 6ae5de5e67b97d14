/** Moves a job to BullMQ's delayed set, which costs none of its attempts and frees the worker's slot. */

import { nameOfJob } from '../core/holder.ts';
import type { RunningJob } from './job.ts';

/** BullMQ recognises it by its name, and leaves the job where it was moved. */
class DelayedError extends Error {
  override readonly name = 'DelayedError';
}

/**
 * Moves a job to the delayed set.
 * @param ms - when it comes back. BullMQ's own errors come out where it can't be moved.
 * @returns what the job's processor must throw then.
 */
export async function delayJob(job: RunningJob, token: string | undefined, ms: number): Promise<Error> {
  await job.moveToDelayed(Date.now() + Math.ceil(ms), token);
  return new DelayedError(`${nameOfJob(job.id, job.queueName)} is delayed: its key is held`);
}

/**
 * How often a job was delayed since it was added, by the guard or by its processor: delays = attemptsStarted − attemptsMade −
 * stalledCounter − 1. BullMQ counts each start, each failure and each stall; the last start is the one under way. Where
 * `job.retry()` has reset `attemptsMade`, the failures are counted by their stack traces.
 */
export function countDelays({
  attemptsStarted = 1,
  attemptsMade = 0,
  stalledCounter = 0,
  stacktrace,
}: RunningJob): number {
  const failures = Math.max(attemptsMade, Array.isArray(stacktrace) ? stacktrace.length : 0);
  return Math.max(attemptsStarted - failures - stalledCounter - 1, 0);
}

/**
 * Whether BullMQ would start the job again. It fails a job that it has started `maxStartedAttempts` times, delays included,
 * without calling its processor.
 */
export function mayStartAgain({ attemptsStarted = 0, queue }: RunningJob): boolean {
  const max = queue?.opts?.maxStartedAttempts;
  return !max || attemptsStarted < max;
}
