/** The owner of a lease asks for it past the wait queue: its own duplicates wait for the very lease that it can reclaim. */

import { setTimeout as delay } from 'node:timers/promises';
import { type Job, Worker } from 'bullmq';
import { expect } from 'chai';
import type { Redis } from 'ioredis';
import { Lock, MemoryCache, onceProcessor, RedisCache } from '../../src/index.ts';
import { WorkerProcesses } from '../guarantees/worker-processes.ts';
import { Bench, oneOfEachKind, plainJob } from '../support/bullmq.ts';
import { connectRedis, rejection, uniqueName, until } from '../support/index.ts';
import { acquire, acquireStep } from '../support/steps.ts';

/** What is generous for something that happens at once, and far less than any ttl here. */
const AT_ONCE_MS = 3000;
const TTL = 60_000;

for (const setup of oneOfEachKind) {
  describe(`A job that comes back while its duplicates wait for its key (${setup.name})`, () => {
    let bench: Bench;
    let workers: WorkerProcesses;
    beforeEach(async () => {
      bench = await Bench.open(setup);
      workers = new WorkerProcesses(bench, setup);
    });
    afterEach(async () => {
      await workers.killAll();
      await bench.close();
    });

    /** A processor that records which jobs ran, and when. */
    function recording(work: (job: Job, worker: () => Promise<Worker>) => unknown, options: object = {}) {
      const ran: string[] = [];
      let worker: Promise<Worker>;
      const processor = onceProcessor(
        async (job: Job) => {
          ran.push(`${job.name} ${job.attemptsStarted}`);
          await work(job, () => worker);
        },
        { key: 'k-1', ttl: TTL, whenLocked: { waitFor: 40_000 }, raiseIfLock: true, ...options },
      );
      const start = () => {
        worker = bench.worker(processor, {
          concurrency: 5,
          lockDuration: 2000,
          stalledInterval: 200,
          maxStalledCount: 5,
        });
        return worker;
      };
      return { ran, start };
    }

    const add = (name: string, options: object = {}) => bench.queue.add(name, { id: 1 }, options);
    const waiting = (jobs: readonly Job[]) => Promise.all(jobs.map(job => bench.reaches(job, 'active')));

    it('runs at once, before them (its worker has crashed)', async () => {
      const { ran, start } = recording(() => {});
      const crashing = await workers.start({ ttl: TTL });
      const first = await add('first');
      await crashing.message('started', first.id);
      await crashing.kill();
      const killedAt = performance.now();
      // BullMQ hands its duplicates out first: it does not know yet that the first has stalled.
      const others = [await add('second'), await add('third')];
      await start();

      await until(() => ran.length === 3);
      const took = performance.now() - killedAt;
      await Promise.all([first, ...others].map(job => bench.result(job)));

      expect(ran[0]).to.equal('first 2');
      expect(ran).to.have.members(['first 2', 'second 1', 'third 1']);
      expect(took, 'ms').to.be.below(TTL / 4);
    });

    it('runs at once, before them (it is retried, and its key was reserved)', async () => {
      const { ran, start } = recording(
        ({ name, attemptsStarted }) => {
          if (name === 'first' && attemptsStarted === 1) throw new Error('try again');
        },
        { holdThroughRetries: true },
      );
      const first = await add('first', { attempts: 2, backoff: { type: 'fixed', delay: 800 } });
      await start();
      await bench.reaches(first, 'delayed');
      const others = [await add('second'), await add('third')];
      await waiting(others);

      await Promise.all([first, ...others].map(job => bench.result(job)));

      // BullMQ on PostgreSQL may hand out two jobs in either order.
      expect(ran.slice(0, 2)).to.deep.equal(['first 1', 'first 2']);
      expect(ran.slice(2)).to.have.members(['second 1', 'third 1']);
    });

    it('runs at once, before them (it was rate limited, and its key was reserved)', async () => {
      const limitError = () => Worker.RateLimitError();
      const { ran, start } = recording(
        async ({ name, attemptsStarted }, worker) => {
          if (name !== 'first' || attemptsStarted !== 1) return;
          await (await worker()).rateLimit(500);
          throw limitError();
        },
        { holdThroughRetries: true },
      );
      const first = await add('first');
      await start();
      await until(() => ran.length > 0);
      const others = [await add('second'), await add('third')];

      await Promise.all([first, ...others].map(job => bench.result(job)));

      // BullMQ on PostgreSQL may hand out two jobs in either order.
      expect(ran.slice(0, 2)).to.deep.equal(['first 1', 'first 2']);
      expect(ran.slice(2)).to.have.members(['second 1', 'third 1']);
    });
  });
}

describe('A job whose earlier run was left behind', () => {
  let redis: Redis;
  let cache: RedisCache;
  beforeEach(() => {
    redis = connectRedis();
    cache = new RedisCache(redis);
  });
  afterEach(() => redis.disconnect());

  /** A lease of job 17's first run, which nobody renews, and waiters for its key in this process. */
  async function leftBehind(key: string, waiters: number) {
    const storedKey = `bull::once:1:emails:${key}`;
    await acquire(cache, acquireStep({ storedKey, owner: 'bull:emails:17@1', attempt: 1, ttl: TTL }));
    const ran: string[] = [];
    const guarded = onceProcessor(async (job: Job) => void ran.push(`${job.id} ${job.attemptsStarted}`), {
      key,
      cache,
      ttl: TTL,
      whenLocked: { waitFor: 40_000 },
      raiseIfLock: true,
    });
    const waiting = Array.from({ length: waiters }, (_, i) =>
      guarded(plainJob(`${18 + i}`, { attemptsStarted: 1 })),
    );
    await delay(100);
    return { guarded, ran, waiting };
  }

  it('reclaims it past a waiter, and past a hundred', async () => {
    for (const waiters of [1, 100]) {
      const { guarded, ran, waiting } = await leftBehind(uniqueName('k'), waiters);
      const startedAt = performance.now();

      await guarded(plainJob('17', { attemptsStarted: 2 }));
      const took = performance.now() - startedAt;
      await Promise.all(waiting);

      expect(ran[0]).to.equal('17 2');
      expect(ran).to.have.length(waiters + 1);
      expect(took, 'ms').to.be.below(AT_ONCE_MS);
    }
  });

  it('reclaims it though BullMQ runs the job twice at once: the older run fails, and does not wait', async () => {
    const { guarded, ran, waiting } = await leftBehind(uniqueName('k'), 1);

    const [newer, older] = await Promise.allSettled([
      guarded(plainJob('17', { attemptsStarted: 3 })),
      guarded(plainJob('17', { attemptsStarted: 2 })),
    ]);
    await Promise.all(waiting);

    expect(newer.status).to.equal('fulfilled');
    expect(ran[0]).to.equal('17 3');
    expect(ran.filter(run => run.startsWith('17'))).to.have.length(older.status === 'fulfilled' ? 2 : 1);
  });

  it('waits in its turn where the key is held by another: a job that is retried does not push in', async () => {
    const key = uniqueName('k');
    const holder = await acquire(
      cache,
      acquireStep({
        storedKey: `bull::once:1:emails:${key}`,
        owner: 'bull:emails:1@1',
        attempt: 1,
        ttl: 1000,
      }),
    );
    const ran: unknown[] = [];
    const guarded = onceProcessor(async (job: Job) => void ran.push(job.id), {
      key,
      cache,
      whenLocked: { waitFor: 20_000 },
    });

    const first = guarded(plainJob('2', { attemptsStarted: 1 }));
    await delay(20);
    const retried = guarded(plainJob('3', { attemptsStarted: 2 }));
    await Promise.all([first, retried]);

    expect(holder.acquired).to.equal(true);
    expect(ran).to.deep.equal(['2', '3']);
  });
});

for (const [name, open] of Object.entries({
  'in a MemoryCache': () => ({ cache: new MemoryCache(), close() {} }),
  'in Redis': () => {
    const redis = connectRedis();
    return { cache: new RedisCache(redis), close: () => redis.disconnect() };
  },
})) {
  describe(`A Lock with a named owner (${name})`, () => {
    it('reclaims the lease that its owner left behind, past all who wait for it', async () => {
      const { cache, close } = open();
      const key = uniqueName('k');
      await acquire(cache, acquireStep({ storedKey: `once::1:default:${key}`, owner: 'me', ttl: TTL }));
      const waiting = [1, 2, 3].map(() => new Lock(key, { cache }).acquire({ waitFor: 40_000 }));
      await delay(100);
      const startedAt = performance.now();

      const mine = await new Lock(key, { cache, owner: 'me' }).acquire({ waitFor: 40_000 });

      expect(performance.now() - startedAt, 'ms').to.be.below(AT_ONCE_MS);
      expect(mine.held).to.equal(true);
      await mine.release();
      for (const next of waiting) await (await next).release();
      close();
    });

    it('does not go past a handle of its own that is held: it waits as everyone does', async () => {
      const { cache, close } = open();
      const lock = new Lock(uniqueName('k'), { cache, owner: 'me' });
      const held = await lock.acquire();
      const other = new Lock(lock.key, { cache }).acquire({ waitFor: 20_000 });
      await delay(50);

      const error = await rejection(lock.acquire({ waitFor: 100 }));

      expect(error).to.include({ code: 'ERR_LOCK_HELD' });
      expect(held.held).to.equal(true);
      await held.release();
      await (await other).release();
      close();
    });

    it('ends its wait when its signal aborts, also while it asks past the queue', async () => {
      const { cache, close } = open();
      const key = uniqueName('k');
      const holder = await new Lock(key, { cache }).acquire();
      const other = new Lock(key, { cache }).acquire({ waitFor: 20_000 });
      const controller = new AbortController();

      const mine = rejection(
        new Lock(key, { cache, owner: 'me' }).acquire({ waitFor: 20_000, signal: controller.signal }),
      );
      controller.abort(new Error('enough'));

      expect((await mine).message).to.equal('enough');
      await holder.release();
      await (await other).release();
      close();
    });
  });
}
