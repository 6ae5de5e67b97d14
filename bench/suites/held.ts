/** What it costs to hold many locks: memory, and the calls and the CPU of their renewals. */

import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Lock, RedisCache } from 'bullmq-once';
import { Redis } from 'ioredis';
import { Mutex } from 'redis-semaphore';
import { measure } from '../measure.ts';
import { figure, type Report, table, whole } from '../report.ts';
import { scriptCalls, serverStats } from '../server-stats.ts';
import type { Settings } from '../settings.ts';

/** Short, so that each lock is renewed several times while it is measured. */
const TTL = 6_000;
/** To warm up, and for a quick run. */
const SHORT_TTL = 600;

const COLUMNS = [
  'bytes a lock',
  'acquired/s',
  'renewal calls/s',
  "holder's CPU, %",
  "server's CPU, %",
  'longest pause, ms',
  'released/s',
] as const;

interface HeldLock {
  isHeld(): boolean;
  release(): Promise<unknown>;
}

interface Holder {
  readonly name: string;
  readonly counts: readonly number[];
  acquire(redis: Redis, key: string, ttl: number): Promise<HeldLock>;
}

const cacheOf = new WeakMap<Redis, RedisCache>();

const holders: readonly Holder[] = [
  {
    name: 'bullmq-once',
    counts: [10_000, 100_000],
    async acquire(redis, key, ttl) {
      const cache = cacheOf.get(redis) ?? new RedisCache(redis);
      cacheOf.set(redis, cache);
      const handle = await new Lock(key, { cache, ttl }).acquire();
      return { isHeld: () => handle.held, release: () => handle.release() };
    },
  },
  {
    name: 'redis-semaphore',
    counts: [10_000],
    async acquire(redis, key, ttl) {
      const mutex = new Mutex(redis as never, key, { lockTimeout: ttl, onLockLost: () => {} });
      await mutex.acquire();
      return { isHeld: () => mutex.isAcquired, release: () => mutex.release() };
    },
  },
];

export async function held({ servers, rounds, scale }: Settings): Promise<Report> {
  const ttl = scale > 1 ? SHORT_TTL : TTL;
  const contenders = holders.flatMap(holder =>
    holder.counts.map(count => ({
      name: `${holder.name}, ${whole(count)} locks`,
      run: () => hold(holder, Math.ceil(count / scale), servers.redis, ttl),
    })),
  );
  for (const holder of holders) await hold(holder, Math.ceil(1000 / scale), servers.redis, SHORT_TTL);
  const measured = await measure(contenders, rounds);
  return [
    '## Many locks held',
    `Locks with a ttl of ${TTL / 1000} s, held by one process for twice that time. CPU and calls are those of their renewals.`,
    table(
      ['', ...COLUMNS, 'lost'],
      measured.map(({ name, figures }) => [
        name,
        ...COLUMNS.map(column => figure(figures[column])),
        figure(figures.lost),
      ]),
    ),
  ];
}

async function hold(
  { acquire }: Holder,
  count: number,
  url: string,
  ttl: number,
): Promise<Readonly<Record<(typeof COLUMNS)[number] | 'lost', number>>> {
  const redis = new Redis(url);
  const heapBefore = heap();
  const startedAt = performance.now();
  const locks: HeldLock[] = [];
  for (let i = 0; i < count; i += 1000) {
    const some = Array.from({ length: Math.min(1000, count - i) }, (_, j) =>
      acquire(redis, `held-${i + j}`, ttl),
    );
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
  redis.disconnect();
  const seconds = (2 * ttl) / 1000;
  return {
    'bytes a lock': bytes,
    'acquired/s': (count * 1000) / acquiredIn,
    'renewal calls/s': (scriptCalls(after) - scriptCalls(before)) / seconds,
    "holder's CPU, %": (user + system) / seconds / 1e4,
    "server's CPU, %": (after.cpu - before.cpu) / seconds / 1e4,
    'longest pause, ms': (pauses.max - pauses.min) / 1e6,
    'released/s': (count * 1000) / releasedIn,
    lost,
  };
}

function heap(): number {
  setFlagsFromString('--expose-gc');
  const gc = runInNewContext('gc') as () => void;
  gc();
  gc();
  return process.memoryUsage().heapUsed;
}
