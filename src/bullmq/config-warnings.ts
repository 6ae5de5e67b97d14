/** Warns once a process of what is set up in a way that can hardly be meant. */

import type { LockCache } from '../cache/contract.ts';
import { isInMemory } from '../cache/registry.ts';
import { warnOnce } from '../core/warnings.ts';
import type { JobLike } from './job.ts';
import { lockDurationOf } from './queue-cache.ts';

/** A ttl below this part of the worker's `lockDuration` is warned of. */
const FAR_BELOW = 1 / 10;

/**
 * @param ttl - the option; absent where the worker's `lockDuration` is the ttl.
 */
export function warnOfMistakes(job: JobLike, cache: LockCache, ttl: number | undefined): void {
  const lockDuration = lockDurationOf(job);
  if (ttl !== undefined && lockDuration !== undefined && ttl < lockDuration * FAR_BELOW) {
    warnOnce(
      'ONCE_SHORT_TTL',
      `queue ${job.queueName}: the option ttl is ${ttl} ms and the worker's lockDuration ${lockDuration} ms: where the event loop ` +
        'is blocked for as long as the ttl, the lock is lost, though BullMQ would wait; leave ttl out to have the same for both',
    );
  }
  if (process.env.NODE_ENV === 'production' && isInMemory(cache)) {
    warnOnce(
      'ONCE_IN_MEMORY',
      `queue ${job.queueName}: its locks are kept in the memory of this process, where workers of other processes do not see ` +
        'them; leave the cache out to keep them where the queue is',
    );
  }
}
