/** Ways to acquire and release one lock, without a queue: ours, by hand, and the published lock libraries. */

import { createRequire } from 'node:module';
import { Redlock as SesamecareRedlock } from '@sesamecare-oss/redlock';
import { Lock, RedisCache } from 'bullmq-once';
import type { PostgresCache } from 'bullmq-once/postgres';
import type { Redis } from 'ioredis';
import { Mutex } from 'redis-semaphore';
import { createLock, IoredisAdapter } from 'redlock-universal';
import { type Acquire, onIoredis, TTL } from './by-hand.ts';

export interface Locker {
  readonly name: string;
  readonly acquire: Acquire;
}

export function ours(cache: RedisCache | PostgresCache): Locker {
  return {
    name: 'bullmq-once',
    async acquire(key) {
      const handle = await new Lock(key, { cache, ttl: TTL }).tryAcquire();
      return handle && (() => handle.release());
    },
  };
}

/** What can be had on ioredis. */
export const onIoredisClient: readonly ((redis: Redis) => Locker)[] = [
  redis => ({ name: 'by hand', acquire: onIoredis(redis).byHand }),
  redis => ours(new RedisCache(redis)),
  redlock4,
  sesamecare,
  semaphore,
  universal,
];

function redlock4(redis: Redis): Locker {
  const redlock = new (createRequire(import.meta.url)('redlock'))([redis], { retryCount: 0 });
  return {
    name: 'redlock 4',
    async acquire(key) {
      const lock = await redlock.lock(key, TTL).catch(heldBy('LockError'));
      return lock && (() => lock.unlock());
    },
  };
}

function sesamecare(redis: Redis): Locker {
  const redlock = new SesamecareRedlock([redis as never], { retryCount: 0 });
  return {
    name: '@sesamecare-oss/redlock',
    async acquire(key) {
      const lock = await redlock.acquire([key], TTL).catch(heldBy('ExecutionError'));
      return lock && (() => lock.release());
    },
  };
}

function semaphore(redis: Redis): Locker {
  return {
    name: 'redis-semaphore',
    async acquire(key) {
      const mutex = new Mutex(redis as never, key, { lockTimeout: TTL, acquireAttemptsLimit: 1 });
      return (await mutex.tryAcquire()) ? () => mutex.release() : undefined;
    },
  };
}

function universal(redis: Redis): Locker {
  const adapter = new IoredisAdapter(redis as never);
  return {
    name: 'redlock-universal',
    async acquire(key) {
      const lock = createLock({ adapter, key, ttl: TTL, retryAttempts: 0 });
      const handle = await lock.acquire().catch(heldBy('LockAcquisitionError'));
      return handle && (() => lock.release(handle));
    },
  };
}

function heldBy(name: string): (error: Error) => undefined {
  return error => {
    if (error.name !== name) throw error;
  };
}
