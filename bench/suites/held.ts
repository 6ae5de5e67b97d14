/** What it costs to hold many locks: memory, and the calls and the CPU of their renewals. */

import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Lock, RedisCache } from 'bullmq-once';
import { Redis } from 'ioredis';
import { Mutex } from 'redis-semaphore';
import { type Report, table, whole } from '../report.ts';
import { serverStats } from '../server-stats.ts';
import type { Settings } from '../settings.ts';

/** Short, so that each lock is renewed several times while it is measured. */
const TTL = 6_000;

interface HeldLock {
  isHeld(): boolean;
  release(): Promise<unknown>;
}

interface Holder {
  readonly name: string;
  readonly counts: readonly number[];
  acquire(redis: Redis, key: string): Promise<HeldLock>;
}

const cacheOf = new WeakMap<Redis, RedisCache>();

const holders: readonly Holder[] = [
  {
    name: 'bullmq-once',
    counts: [10_000, 100_000],
    async acquire(redis, key) {
      const cache = cacheOf.get(redis) ?? new RedisCache(redis);
      cacheOf.set(redis, cache);
      const handle = await new Lock(key, { cache, ttl: TTL }).acquire();
      return { isHeld: () => handle.held, release: () => handle.release() };
    },
  },
  {
    name: 'redis-semaphore',
    counts: [10_000],
    async acquire(redis, key) {
      const mutex = new Mutex(redis as never, key, { lockTimeout: TTL, onLockLost: () => {} });
      await mutex.acquire();
      return { isHeld: () => mutex.isAcquired, release: () => mutex.release() };
    },
  },
];

export async function held({ servers, scale }: Settings): Promise<Report> {
  const rows: string[][] = [];
  for (const holder of holders) {
    for (const count of holder.counts) rows.push(await hold(holder, Math.ceil(count / scale), servers.redis));
  }
  return [
    '## Many locks held',
    `Locks with a ttl of ${TTL / 1000} s, held by one process for twice that time. CPU and calls are those of their renewals.`,
    table(
      [
        '',
        'locks',
        'bytes a lock',
        'acquired/s',
        'renewal calls/s',
        "holder's CPU",
        "server's CPU",
        'longest pause, ms',
        'lost',
        'released/s',
      ],
      rows,
    ),
  ];
}

async function hold({ name, acquire }: Holder, count: number, url: string): Promise<string[]> {
  const redis = new Redis(url);
  const heapBefore = heap();
  const startedAt = performance.now();
  const locks: HeldLock[] = [];
  for (let i = 0; i < count; i += 1000) {
    const some = Array.from({ length: Math.min(1000, count - i) }, (_, j) => acquire(redis, `held-${i + j}`));
    locks.push(...(await Promise.all(some)));
  }
  const acquiredIn = performance.now() - startedAt;
  const bytes = (heap() - heapBefore) / count;

  const pauses = monitorEventLoopDelay({ resolution: 5 });
  pauses.enable();
  const before = await serverStats(redis);
  const cpuBefore = process.cpuUsage();
  await delay(2 * TTL);
  const { user, system } = process.cpuUsage(cpuBefore);
  const after = await serverStats(redis);
  pauses.disable();
  const lost = locks.filter(lock => !lock.isHeld()).length;

  const releasedAt = performance.now();
  await Promise.all(locks.map(lock => lock.release()));
  const releasedIn = performance.now() - releasedAt;
  await redis.flushdb();
  redis.disconnect();
  const seconds = (2 * TTL) / 1000;
  return [
    name,
    whole(count),
    whole(bytes),
    whole((count * 1000) / acquiredIn),
    whole((after.scripts - before.scripts) / seconds),
    `${((user + system) / seconds / 1e4).toFixed(1)} %`,
    `${((after.cpu - before.cpu) / seconds / 1e4).toFixed(1)} %`,
    whole((pauses.max - pauses.min) / 1e6),
    String(lost),
    whole((count * 1000) / releasedIn),
  ];
}

function heap(): number {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  gc();
  gc();
  return process.memoryUsage().heapUsed;
}
