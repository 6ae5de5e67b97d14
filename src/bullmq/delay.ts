/** Puts a job off: BullMQ moves it to delayed, which costs none of its attempts, and leaves the worker's slot to others. */

import type { Holder } from '../cache/contract.ts';
import { LockError } from '../core/errors.ts';
import { show } from '../lock/options.ts';
import type { Policy } from '../duplicates/when-locked.ts';
import type { JobLike } from './job.ts';
import type { Task } from '../guard/job-context.ts';

/** What of a job that a worker runs is asked for. Those in a sandbox have it too. */
export interface RunningJob extends JobLike {
  readonly attemptsMade?: number;
  readonly stalledCounter?: number;
  readonly queue?: { readonly opts?: { readonly maxStartedAttempts?: number } };
  moveToDelayed(timestamp: number, token?: string): Promise<unknown>;
}

/** BullMQ knows by the name that it must leave the job where it is. */
class PutOff extends Error {
  override readonly name = 'DelayedError';
}

/**
 * Moves a job to delayed.
 * @param ms - when it comes back. BullMQ's own errors come out where it can't be moved.
 */
export async function delayJob(job: RunningJob, token: string | undefined, ms: number): Promise<void> {
  await job.moveToDelayed(Date.now() + Math.ceil(ms), token);
}

/** What a job's processor throws once it was moved to delayed. */
export function putOff(job: RunningJob): Error {
  return new PutOff(`job ${job.id} is put off: its key is held`);
}

/**
 * How many times a job was put off since it was added, by itself or by its processor. BullMQ counts each start
 * (`attemptsStarted`), each failure (`attemptsMade`) and each stall (`stalledCounter`); the rest are these.
 */
export function timesPutOff({
  attemptsStarted = 1,
  attemptsMade = 0,
  stalledCounter = 0,
}: RunningJob): number {
  return Math.max(attemptsStarted - attemptsMade - stalledCounter - 1, 0);
}

/**
 * Whether BullMQ would start the job once more. It fails a job that it started more often than `maxStartedAttempts` without a
 * word of why, and it counts the times it was put off.
 */
export function mayStartAgain({ attemptsStarted = 0, queue }: RunningJob): boolean {
  const most = queue?.opts?.maxStartedAttempts;
  return !most || attemptsStarted < most;
}

/**
 * Puts a duplicate off as `{ retryIn }` says.
 * @throws LockError it was put off as often as it may be.
 */
export async function retryLater(
  { job, token, name, ttl, claimant }: Task,
  policy: Policy & { kind: 'retry' },
  holder: Holder,
): Promise<never> {
  if (timesPutOff(job) >= policy.limit || !mayStartAgain(job)) {
    claimant.tell('raised', holder);
    throw new LockError(name, holder);
  }
  const ms = await delayFor(policy.in, job, holder, ttl);
  await delayJob(job, token, ms * (1 + Math.random() / 4));
  claimant.tell('retried', holder);
  throw putOff(job);
}

async function delayFor(
  retryIn: (Policy & { kind: 'retry' })['in'],
  job: RunningJob,
  holder: Holder,
  ttl: number,
): Promise<number> {
  if (retryIn === 'holder') return endOf(holder, ttl);
  if (typeof retryIn === 'number') return retryIn;
  const ms: unknown = await retryIn(job, holder);
  if (typeof ms === 'number' && Number.isFinite(ms) && ms >= 0) return Math.max(ms, 1);
  throw new TypeError(
    `onceProcessor: the function of option 'whenLocked.retryIn' must return a number of milliseconds, not ${show(ms)}`,
  );
}

/** When a holder's lease would end, in ms; after a ttl where it never would. */
export function endOf(holder: Holder, ttl: number): number {
  return Number.isFinite(holder.expiresIn) ? Math.max(holder.expiresIn, 1) : ttl;
}
