/** Warns once a process of settings that can hardly be meant. */

import type { LockCache } from '../cache/contract.ts';
import { isInMemory } from '../cache/registry.ts';
import { nameOfJob } from '../core/holder.ts';
import { warnOnce } from '../core/warnings.ts';
import { lockDurationOf, type RunningJob } from './job.ts';

/** A ttl below this part of the worker's `lockDuration` is suspicious. */
const SUSPICIOUS_TTL_PART = 1 / 10;

/**
 * @param ttl - the option; absent where the ttl is the worker's `lockDuration`.
 * @param leaseTtl - the ttl of the job's lease, in ms.
 */
export function warnOfConfig(
  job: RunningJob,
  cache: LockCache,
  {
    ttl,
    leaseTtl,
    maxHold,
  }: { readonly ttl: number | undefined; readonly leaseTtl: number; readonly maxHold: number },
): void {
  const lockDuration = lockDurationOf(job);
  if (ttl !== undefined && lockDuration !== undefined && ttl < lockDuration * SUSPICIOUS_TTL_PART) {
    warnOnce(
      'ONCE_SHORT_TTL',
      `queue ${job.queueName}: the option ttl is ${ttl} ms and the worker's lockDuration is ${lockDuration} ms: if the event ` +
        'loop is blocked for as long as the ttl, the lock is lost although BullMQ would wait; leave ttl out to use ' +
        'lockDuration for both',
    );
  }
  if (maxHold < leaseTtl) {
    warnOnce(
      'ONCE_SHORT_MAX_HOLD',
      `queue ${job.queueName}: maxHold is ${maxHold} ms and the ttl ${leaseTtl} ms: the signal of a job that hangs aborts after ` +
        'maxHold, and its key is free when its lease has ended, so not before the ttl; give a lower ttl, or a higher maxHold',
    );
  }
  if (process.env.NODE_ENV === 'production' && isInMemory(cache)) {
    warnOnce(
      'ONCE_IN_MEMORY',
      `queue ${job.queueName}: its locks are kept in the memory of this process, where workers of other processes do not see ` +
        'them; leave the cache out to keep them in the datastore of the queue',
    );
  }
}

/** A duplicate has failed with a `LockError`. Without attempts it is never tried again, and without a backoff it is tried in vain. */
export function warnOfRaised(job: RunningJob): void {
  const why = whyNotRetried(job);
  if (!why) return;
  warnOnce(
    'ONCE_NO_RETRIES',
    `${nameOfJob(job.id, job.queueName)} is a duplicate that fails with a LockError, and ${why}; add jobs with attempts and a backoff that ` +
      'last longer than a run, or leave raiseIfLock out to skip duplicates',
  );
}

/** Why a job that fails now is retried in vain, or not at all. */
export function whyNotRetried({
  opts: { attempts = 1, backoff } = {},
  attemptsMade = 0,
}: Pick<RunningJob, 'opts' | 'attemptsMade'>): string | undefined {
  if (attempts <= 1) return 'has no attempts left: it is never run';
  if (attemptsMade + 1 >= attempts)
    return `has used up its ${attempts} attempts while its key was held: it is never run`;
  return backoff === undefined
    ? 'has no backoff: all its attempts are used up while its key is held'
    : undefined;
}
