/** What it costs to acquire and release one lock: alone, with many in flight, and where the key is held. */

import { randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { Redlock as SesamecareRedlock } from '@sesamecare-oss/redlock';
import { Lock, RedisCache } from 'bullmq-once';
import { Redis } from 'ioredis';
import { Mutex } from 'redis-semaphore';
import { createLock, IoredisAdapter } from 'redlock-universal';
import { RELEASE, TTL } from '../guards.ts';
import { type Contender, type Figures, type Measured, measure, median } from '../measure.ts';
import { type Report, ratio, table, whole } from '../report.ts';
import type { Settings } from '../settings.ts';

/** Acquires a key. Resolves to a function that releases it, or to nothing where the key is held. */
type Acquire = (key: string) => Promise<(() => Promise<unknown>) | undefined>;

interface Locker {
  readonly name: string;
  readonly redis: Redis;
  readonly acquire: Acquire;
}

export async function lock({ servers, rounds, scale }: Settings): Promise<Report> {
  const lockers = lockersOn(servers.redis);
  const report: Report = [
    '## One lock',
    '`Lock` against raw commands: `SET NX`, and a script that compares and deletes.',
  ];

  const alone = await compare(lockers, rounds, locker => latency(locker, 2000 / scale));
  report.push(
    '### One after another',
    table(
      ['', 'µs to acquire', 'µs to release', 'both, relative'],
      alone.map(({ name, median, ratio: to }) => [
        name,
        whole(median['µs to acquire']),
        whole(median['µs to release']),
        ratio(to.both),
      ]),
    ),
  );

  const sizes = [100, 1000];
  const crowds: Measured[][] = [];
  for (const size of sizes)
    crowds.push(await compare(lockers, rounds, locker => crowd(locker, size, 20_000 / scale)));
  report.push(
    '### Many in flight',
    table(
      ['', ...sizes.flatMap(size => [`locks/s, ${size} in flight`, 'relative'])],
      lockers.map(({ name }, i) => [
        name,
        ...crowds.flatMap(crowd => [whole(crowd[i]?.median['locks/s']), ratio(crowd[i]?.ratio['locks/s'])]),
      ]),
    ),
  );

  const refused = await compare(lockers, rounds, locker => refusals(locker, 20_000 / scale));
  report.push(
    '### A key that is held',
    table(
      ['', 'refused/s, 100 in flight', 'relative'],
      refused.map(({ name, median, ratio: to }) => [
        name,
        whole(median['refused/s']),
        ratio(to['refused/s']),
      ]),
    ),
  );
  for (const { redis } of lockers) redis.disconnect();
  return report;
}

function compare(
  lockers: readonly Locker[],
  rounds: number,
  run: (locker: Locker) => Promise<Figures>,
): Promise<Measured[]> {
  const contenders = lockers.map((locker): Contender => ({ name: locker.name, run: () => run(locker) }));
  return measure(contenders, rounds);
}

async function latency({ acquire }: Locker, times: number): Promise<Figures> {
  const acquisitions: number[] = [];
  const releases: number[] = [];
  for (let i = 0; i < times; i++) {
    const start = performance.now();
    const release = await acquire(`key-${i}`);
    const acquiredAt = performance.now();
    await release?.();
    acquisitions.push((acquiredAt - start) * 1000);
    releases.push((performance.now() - acquiredAt) * 1000);
  }
  return {
    'µs to acquire': median(acquisitions),
    'µs to release': median(releases),
    both: median(acquisitions) + median(releases),
  };
}

async function crowd({ acquire }: Locker, size: number, times: number): Promise<Figures> {
  const start = performance.now();
  await inFlight(size, times, async i => (await acquire(`key-${i}`))?.());
  return { 'locks/s': (times * 1000) / (performance.now() - start) };
}

async function refusals({ acquire, redis }: Locker, times: number): Promise<Figures> {
  const release = await acquire('held');
  const start = performance.now();
  await inFlight(100, times, async () => {
    if (await acquire('held')) throw new Error('a key that is held was acquired');
  });
  const took = performance.now() - start;
  await release?.();
  await redis.flushdb();
  return { 'refused/s': (times * 1000) / took };
}

/** Calls a function so many times, with so many calls under way at once. */
async function inFlight(size: number, times: number, what: (i: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const repeat = async () => {
    while (next < times) await what(next++);
  };
  await Promise.all(Array.from({ length: size }, repeat));
}

function lockersOn(url: string): Locker[] {
  return [
    raw('raw ioredis', new Redis(url)),
    raw('raw ioredis, auto-pipelining', new Redis(url, { enableAutoPipelining: true })),
    ours(new Redis(url)),
    redlock4(new Redis(url)),
    sesamecare(new Redis(url)),
    semaphore(new Redis(url)),
    universal(new Redis(url)),
  ];
}

function raw(name: string, redis: Redis): Locker {
  redis.defineCommand('releaseByHand', { numberOfKeys: 1, lua: RELEASE });
  return {
    name,
    redis,
    async acquire(key) {
      const token = randomUUID();
      if ((await redis.set(key, token, 'PX', TTL, 'NX')) !== 'OK') return;
      return () => (redis as any).releaseByHand(key, token);
    },
  };
}

function ours(redis: Redis): Locker {
  const cache = new RedisCache(redis);
  return {
    name: 'bullmq-once',
    redis,
    async acquire(key) {
      const handle = await new Lock(key, { cache, ttl: TTL }).tryAcquire();
      return handle && (() => handle.release());
    },
  };
}

function redlock4(redis: Redis): Locker {
  const redlock = new (createRequire(import.meta.url)('redlock'))([redis], { retryCount: 0 });
  return {
    name: 'redlock 4',
    redis,
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
    redis,
    async acquire(key) {
      const lock = await redlock.acquire([key], TTL).catch(heldBy('ExecutionError'));
      return lock && (() => lock.release());
    },
  };
}

function semaphore(redis: Redis): Locker {
  return {
    name: 'redis-semaphore',
    redis,
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
    redis,
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
