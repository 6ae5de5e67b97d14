/** A process that holds many locks for a while, and measures itself. It does so once, so that no garbage of an earlier time counts. */

import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { Lock, RedisCache } from 'bullmq-once';
import { Redis } from 'ioredis';
import { Mutex } from 'redis-semaphore';
import type { Figures } from './measure.ts';
import { scriptCalls, serverStats } from './server-stats.ts';

export interface HeldTask {
  readonly holder: keyof typeof holders;
  /** How many locks. */
  readonly count: number;
  /** In ms. They are held for twice that time. */
  readonly ttl: number;
  readonly redisUrl: string;
}

interface HeldLock {
  isHeld(): boolean;
  release(): Promise<unknown>;
}

type Acquire = (key: string, ttl: number) => Promise<HeldLock>;

const holders = { 'bullmq-once': ours, 'redis-semaphore': semaphore } as const;

function ours(redis: Redis): Acquire {
  const cache = new RedisCache(redis);
  return async (key, ttl) => {
    const handle = await new Lock(key, { cache, ttl }).acquire();
    return { isHeld: () => handle.held, release: () => handle.release() };
  };
}

function semaphore(redis: Redis): Acquire {
  return async (key, ttl) => {
    const mutex = new Mutex(redis as never, key, { lockTimeout: ttl, onLockLost: () => {} });
    await mutex.acquire();
    return { isHeld: () => mutex.isAcquired, release: () => mutex.release() };
  };
}

process.once('message', async (task: HeldTask) => {
  const redis = new Redis(task.redisUrl);
  const acquire = holders[task.holder](redis);
  const warmUp = { ...task, count: Math.ceil(task.count / 10), ttl: 600 };
  await hold(redis, acquire, warmUp);
  process.send?.(await hold(redis, acquire, task));
  process.disconnect?.();
  redis.disconnect();
});

async function hold(redis: Redis, acquire: Acquire, { count, ttl }: HeldTask): Promise<Figures> {
  const heapBefore = heap();
  const startedAt = performance.now();
  const locks: HeldLock[] = [];
  for (let i = 0; i < count; i += 1000) {
    const some = Array.from({ length: Math.min(1000, count - i) }, (_, j) => acquire(`held-${i + j}`, ttl));
    locks.push(...(await Promise.all(some)));
  }
  const acquiredIn = performance.now() - startedAt;
  const bytes = (heap() - heapBefore) / count;

  const pauses = monitorEventLoopDelay({ resolution: 5 });
  pauses.enable();
  const before = await serverStats(redis);
  const cpuBefore = process.cpuUsage();
  await delay(2 * ttl);
  const { user, system } = process.cpuUsage(cpuBefore);
  const after = await serverStats(redis);
  pauses.disable();
  const lost = locks.filter(lock => !lock.isHeld()).length;

  const releasedAt = performance.now();
  await Promise.all(locks.map(lock => lock.release()));
  const releasedIn = performance.now() - releasedAt;
  await redis.flushdb();
  const seconds = (2 * ttl) / 1000;
  return {
    'bytes a lock': bytes,
    'acquired/s': (count * 1000) / acquiredIn,
    'renewal calls/s': (scriptCalls(after) - scriptCalls(before)) / seconds,
    "holder's CPU, %": (user + system) / seconds / 1e4,
    "server's CPU, %": (after.cpu - before.cpu) / seconds / 1e4,
    'longest pause, ms': (pauses.max - pauses.min) / 1e6,
    lost,
    'released/s': (count * 1000) / releasedIn,
  };
}

function heap(): number {
  globalThis.gc?.();
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}
