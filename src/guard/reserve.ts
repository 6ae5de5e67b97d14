/**
 * `holdThroughRetries`: the key of a job that failed or moved itself, and will run again, is reserved for its next run. What
 * BullMQ will do can't be known for sure here. So the key is reserved unless it is certain that the job will not run again, and
 * those who find it reserved ask BullMQ (`abandoned-lease.ts`).
 */

import type { RunningJob } from '../bullmq/job.ts';
import { comesBackIn, mayRunAgain } from '../bullmq/retries.ts';
import type { Reservation } from '../cache/contract.ts';
import type { LeaseTerms } from '../lock/lease-terms.ts';

/** How long a key is reserved at most where `maxHold` says nothing: a week. */
const MAX_RESERVED_MS = 7 * 86_400_000;

/**
 * @param error - what the job's processor threw.
 * @returns for how long to reserve the key of the job; `undefined`: it will not run again.
 */
export function reservationFor(
  job: RunningJob,
  error: unknown,
  { maxHold }: Pick<LeaseTerms, 'maxHold'>,
): Reservation | undefined {
  if (!mayRunAgain(job, error)) return undefined;
  const lastsFor = Number.isFinite(maxHold) ? maxHold : MAX_RESERVED_MS;
  const dueIn = Math.min(comesBackIn(job, error) ?? 0, lastsFor);
  return { dueIn, lastsFor };
}

/** A job that will be retried may come late: its queue may be paused. */
const REMEMBER_AFTER_DUE_MS = 86_400_000;
/** A longer backoff decides for nobody else. */
const MAX_BACKOFF_MS = 7 * 86_400_000;
/** Longer than a job takes to come that a worker fetched before it stood still. */
const REMEMBER_TTLS = 2;

/**
 * How long the line of the newest remembers who has run last, in ms: until an older job has come that may still come.
 * @param error - what the job's processor threw, if it did.
 */
export function rememberFor(job: RunningJob, error: unknown, ttl: number): number {
  if (error === undefined || !mayRunAgain(job, error)) return REMEMBER_TTLS * ttl;
  return Math.min(comesBackIn(job, error) ?? 0, MAX_BACKOFF_MS) + REMEMBER_AFTER_DUE_MS;
}
