/** Guarantees 3 and 4: a crash blocks for at most ttl, and a crashed job is never a duplicate of itself. */

import { expect } from 'chai';
import type { Redis } from 'ioredis';
import { Lock, RedisCache } from '../../src/index.ts';
import { Bench, setupNamed } from '../support/bullmq.ts';
import { Child } from '../support/child.ts';
import { connectRedis, redisOptions, uniqueName, until } from '../support/index.ts';
import { WorkerProcesses } from './worker-processes.ts';

/** BullMQ finds out about a crash in another way on each of these. */
const SETUPS = ['BullMQ 6 with ioredis options', 'BullMQ 6 on PostgreSQL'].map(setupNamed);

for (const setup of SETUPS) {
  describe(`A job whose worker was killed (${setup.name})`, () => {
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

    it('runs again and reclaims its own lease at once: it is not skipped', async () => {
      const first = await workers.start({ ttl: 600_000 });
      const job = await bench.add({ id: 1 });
      const started = await first.message('started');
      await first.kill();
      const left = await bench.holder('k-1');
      const second = await workers.start({ ttl: 600_000 });

      const again = await second.message('started');
      second.send({ finish: job.id });
      const result = await bench.result(job);

      expect(left).to.include({ state: 'running', fence: started.fence });
      expect(again.id).to.equal(job.id);
      expect(again.fence).to.be.above(started.fence as number);
      expect(result).to.match(/^done by/);
      expect(await bench.holder('k-1')).to.equal(undefined);
    });

    it('still has its duplicates skipped until it runs again', async () => {
      const first = await workers.start({ ttl: 600_000 });
      const job = await bench.add({ id: 1 });
      await first.message('started');
      const second = await workers.start({ ttl: 600_000 });
      await first.kill();

      const duplicate = await bench.result(await bench.add({ id: 1 }));
      await second.message('started', job.id);
      second.send({ finish: job.id });

      expect(duplicate).to.equal(null);
      expect(await bench.result(job)).to.match(/^done by/);
    });

    it('leaves its key to the next job as soon as its lease is overdue, if BullMQ fails it (maxStalledCount)', async () => {
      const ttl = 6000;
      const first = await workers.start({ ttl, maxStalledCount: 0 });
      const job = await bench.add({ id: 1 });
      await first.message('started');
      const second = await workers.start({ ttl, maxStalledCount: 0 });
      await first.kill();
      const failure = await bench.failure(job);
      await until(async () => ((await bench.holder('k-1'))?.expiresIn ?? 0) < ttl / 2);

      const next = await bench.add({ id: 1 });
      await second.message('started', next.id);
      second.send({ finish: next.id });

      expect(failure).to.contain('stalled');
      expect(await bench.result(next)).to.match(/^done by/);
    });

    it('completes with its own result and without a second run (dedupeFor; the work was done and BullMQ did not know)', async () => {
      const dedupeFor = 600_000;
      const first = await workers.start({ ttl: 3000, dedupeFor, hangs: true });
      const job = await bench.add({ id: 1 });
      await first.message('started');
      first.send({ finish: job.id });
      await until(async () => (await bench.holder('k-1'))?.state === 'done');
      await first.kill();

      const second = await workers.start({ ttl: 3000, dedupeFor });
      const result = await bench.result(job);
      const duplicate = await bench.result(await bench.add({ id: 1 }));

      expect(result).to.equal(`done by ${first.pid}`);
      expect(duplicate).to.equal(null);
      expect(second.messagesOf('started')).to.deep.equal([]);
    });

    it('keeps its key until its retry, whoever runs that (holdThroughRetries)', async () => {
      const [backoff, ttl] = [1200, 600];
      const first = await workers.start({ ttl, holdThroughRetries: true });
      const job = await bench.add({ id: 1 }, { attempts: 2, backoff });
      await first.message('started');
      first.send({ fail: job.id });
      await first.message('failed');
      await first.kill();
      await until(async () => ((await bench.holder('k-1'))?.dueIn ?? 0) < -ttl);
      const second = await workers.start({ ttl, holdThroughRetries: true });
      await second.message('started', job.id);
      second.send({ finish: job.id });

      expect(await bench.result(job)).to.match(/^done by/);
      expect(await bench.holder('k-1')).to.equal(undefined);
    });
  });
}

describe('A Lock whose process was killed', () => {
  let redis: Redis;
  let child: Child | undefined;
  beforeEach(() => {
    redis = connectRedis();
  });
  afterEach(async () => {
    await child?.kill();
    redis.disconnect();
  });

  const holdAndKill = async (key: string, options: object) => {
    child = new Child('lock-holder.ts', { port: redisOptions().port, key, options });
    const { fence } = await child.message('held');
    await child.kill();
    return fence as number;
  };

  it('blocks others for its ttl, and no longer', async () => {
    const key = uniqueName();
    const fence = await holdAndKill(key, { ttl: 1500 });
    const lock = new Lock(key, { cache: new RedisCache(redis) });

    const early = await lock.tryAcquire();
    await using next = await lock.acquire({ waitFor: 30_000 });

    expect(early).to.equal(undefined);
    expect(next.fence).to.be.above(fence);
  });

  it('is reclaimed at once by the same owner', async () => {
    const key = uniqueName();
    const fence = await holdAndKill(key, { ttl: 600_000, owner: 'importer' });

    await using next = await new Lock(key, { cache: new RedisCache(redis), owner: 'importer' }).tryAcquire();

    expect(next?.held).to.equal(true);
    expect(next?.fence).to.be.above(fence);
  });
});
