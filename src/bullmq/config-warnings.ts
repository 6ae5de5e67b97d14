/** Warns once a process of settings that can hardly be meant. */

import type { LockCache } from '../cache/contract.ts';
import { isInMemory } from '../cache/registry.ts';
import { warnOnce } from '../core/warnings.ts';
import { lockDurationOf, type RunningJob } from './job.ts';

/** A ttl below this part of the worker's `lockDuration` is suspicious. */
const SUSPICIOUS_TTL_PART = 1 / 10;

/** @param ttl - the option; absent where the ttl is the worker's `lockDuration`. */
export function warnOfConfig(job: RunningJob, cache: LockCache, ttl: number | undefined): void {
  const lockDuration = lockDurationOf(job);
  if (ttl !== undefined && lockDuration !== undefined && ttl < lockDuration * SUSPICIOUS_TTL_PART) {
    warnOnce(
      'ONCE_SHORT_TTL',
      `queue ${job.queueName}: the option ttl is ${ttl} ms and the worker's lockDuration is ${lockDuration} ms: if the event ` +
        'loop is blocked for as long as the ttl, the lock is lost although BullMQ would wait; leave ttl out to use ' +
        'lockDuration for both',
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
