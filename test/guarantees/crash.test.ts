/** Promises 3, 4 and 5 where a process dies or stands still. */

import type { Job } from 'bullmq';
import { expect } from 'chai';
import type { Redis } from 'ioredis';
import { Lock, onceProcessor, RedisCache } from '../../src/index.ts';
import { Bench, setups } from '../support/bullmq.ts';
import { Child } from '../support/child.ts';
import { connectRedis, deferred, redisOptions, uniqueName, until } from '../support/index.ts';

/** A crash is told by BullMQ, which does so in its own way on each. */
const STORES = ['BullMQ 6 with ioredis options', 'BullMQ 6 on PostgreSQL'];

interface Others {
  readonly keepFor?: number;
  readonly hangs?: boolean;
  readonly holdThroughRetries?: boolean;
}

for (const setup of setups.filter(({ name }) => STORES.includes(name)))
  describe(`a job whose worker, ${setup.name},`, () => {
    let bench: Bench;
    const children: Child[] = [];

    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(async () => {
      await Promise.all(children.splice(0).map(child => child.kill()));
      await bench.close();
    });

    const worker = async (ttl: number, others: Others = {}) => {
      const { keepFor = 0, hangs = false, holdThroughRetries = false } = others;
      const child = new Child('worker.ts', {
        connection: bench.queue.opts.connection,
        onPostgres: setup.name.includes('PostgreSQL'),
        queueName: bench.queueName,
        options: { key: 'k-{id}', ttl, keepFor, holdThroughRetries },
        hangs,
        worker: { lockDuration: 1000, stalledInterval: 500, maxStalledCount: 5, concurrency: 2 },
      });
      children.push(child);
      await child.hears('ready');
      return child;
    };
    const holder = () => bench.holder('k-1');

    it('was killed runs again, and takes its own lease over at once: it is not skipped', async () => {
      const first = await worker(600_000);
      const job = await bench.add({ id: 1 });
      const started = await first.hears('started');
      await first.kill();
      const dead = await holder();
      const second = await worker(600_000);

      const again = await second.hears('started');
      second.tell({ finish: job.id });
      const result = await bench.result(job);

      expect(dead).to.include({ state: 'running', fence: started.fence });
      expect(again.id).to.equal(job.id);
      expect(again.fence).to.be.above(started.fence as number);
      expect(result).to.match(/^done by/);
      expect(await bench.holder('k-1')).to.equal(undefined);
    });

    it('was killed after its work, before BullMQ knew, completes under keepFor without a second run', async () => {
      const keepFor = 600_000;
      const first = await worker(3000, { keepFor, hangs: true });
      const job = await bench.add({ id: 1 });
      await first.hears('started');
      first.tell({ finish: job.id });
      await until(async () => (await holder())?.state === 'done');
      await first.kill();

      const second = await worker(3000, { keepFor });
      const result = await bench.result(job);
      const duplicate = await bench.result(await bench.add({ id: 1 }));

      expect(result).to.equal(null);
      expect(duplicate).to.equal(null);
      expect(second.told.some(({ event }) => event === 'started')).to.equal(false);
    });

    it('was killed while its job awaits its retry leaves the key held until then, and a ttl more', async () => {
      const [backoff, ttl] = [1500, 1000];
      const first = await worker(ttl, { holdThroughRetries: true });
      const job = await bench.add({ id: 1 }, { attempts: 2, backoff });
      await first.hears('started');
      const failedAt = performance.now();
      first.tell({ fail: job.id });
      await first.hears('failed');
      await first.kill();
      const left = (await holder())?.expiresIn;

      await until(async () => (await holder()) === undefined);

      expect(left).to.be.within(ttl, backoff + ttl);
      expect(performance.now() - failedAt).to.be.at.least(backoff + ttl - 50);
    });

    it('was killed keeps others out meanwhile: they are duplicates', async () => {
      const first = await worker(600_000);
      const job = await bench.add({ id: 1 });
      await first.hears('started');
      const second = await worker(600_000);
      await first.kill();

      const duplicate = await bench.result(await bench.add({ id: 1 }));
      await second.hears('started', job.id);
      second.tell({ finish: job.id });

      expect(duplicate).to.equal(null);
      expect(await bench.result(job)).to.match(/^done by/);
    });

    it('was stopped for a while is run by another; the first is told, and can neither renew nor let go', async () => {
      const first = await worker(3000);
      const job = await bench.add({ id: 1 });
      await first.hears('started');
      const second = await worker(3000);

      first.signal('SIGSTOP');
      const again = await second.hears('started');
      first.signal('SIGCONT');
      const aborted = await first.hears('aborted');
      first.tell({ finish: job.id });
      await first.hears('finishing');
      // What the first had to say of its lease has been said when its connection has answered a later job.
      const other = await bench.add({ id: 2 });
      await until(() =>
        [first, second].some(child =>
          child.told.some(({ event, id }) => event === 'started' && id === other.id),
        ),
      );
      const stillHeld = await holder();
      second.tell({ finish: job.id });
      for (const child of [first, second]) child.tell({ finish: other.id });

      expect(aborted).to.include({ code: 'ERR_LOCK_LOST' });
      expect(aborted.why).to.be.oneOf(['expired', 'taken-over']);
      expect(stillHeld).to.include({ state: 'running', fence: again.fence });
      expect(await bench.result(job)).to.match(/^done by/);
      expect(first.told.filter(({ event }) => event === 'unhandled')).to.deep.equal([]);
    });

    it('came to a process late, when another had run it, is not run again', async () => {
      const ran: unknown[] = [];
      const guarded = onceProcessor(async (job: Job) => void ran.push(job.attemptsStarted), { key: 'k' });
      const late = deferred();
      // As where its process stood still from when it had asked for the job until now. Nobody renews BullMQ's own lock.
      const slowly = async (job: Job, token?: string) => {
        await late.promise;
        return guarded(job, token);
      };
      const failures: unknown[] = [];
      const stopped = { lockDuration: 500, skipLockRenewal: true, skipStalledCheck: true };
      await bench.worker(
        (job, token) => slowly(job, token).catch(error => void failures.push(error)),
        stopped,
      );
      const job = await bench.add({});
      await until(async () => (await job.getState()) === 'active');
      await bench.worker(guarded, { stalledInterval: 200, lockDuration: 5000 });
      await bench.ended(job);

      late.resolve();
      await until(() => failures.length === 1);

      expect(ran).to.deep.equal([2]);
      expect(failures[0]).to.include({ code: 'ERR_LOCK_LOST', why: 'stalled' });
    });

    it('stalls, and starts it again in the same process: the first run is told at once', async () => {
      const runs: { signal: AbortSignal; end: (value: string) => void }[] = [];
      const processor = onceProcessor(
        (_job: Job, _token, signal) =>
          new Promise<string>(resolve => {
            runs.push({ signal: signal as AbortSignal, end: resolve });
          }),
        { key: 'k-{id}', ttl: 600_000 },
      );
      // Without renewals of BullMQ's own lock the job counts as stalled, though its worker lives.
      const options = { lockDuration: 1500, stalledInterval: 200, skipLockRenewal: true, maxStalledCount: 1 };
      await bench.worker(processor, { ...options, concurrency: 2 });

      await bench.add({ id: 1 });
      await until(() => runs.length === 2);
      const [first, second] = runs;
      await until(() => first?.signal.aborted);
      first?.end('first');
      second?.end('second');

      expect(first?.signal.reason).to.include({ code: 'ERR_LOCK_LOST', why: 'taken-over' });
      expect(second?.signal.aborted).to.equal(false);
      await until(async () => (await bench.holder('k-1')) === undefined);
    });
  });

describe('a Lock whose process', () => {
  let redis: Redis;
  const children: Child[] = [];
  beforeEach(() => {
    redis = connectRedis();
  });
  afterEach(async () => {
    await Promise.all(children.splice(0).map(child => child.kill()));
    redis.disconnect();
  });

  const hold = async (key: string, options: object) => {
    const child = new Child('lock-holder.ts', { port: redisOptions().port, key, options });
    children.push(child);
    return { child, held: await child.hears('held') };
  };

  it('was killed blocks others for its ttl, and no longer', async () => {
    const key = uniqueName();
    const { child, held } = await hold(key, { ttl: 1500 });
    await child.kill();
    const next = new Lock(key, { cache: new RedisCache(redis) });

    const early = await next.tryAcquire();
    await next.acquire({ waitFor: 30_000 });

    expect(early).to.equal(false);
    expect(next.fence).to.be.above(held.fence as number);
    await next.release();
  });

  it('was killed is taken over at once by the same owner', async () => {
    const key = uniqueName();
    const { child } = await hold(key, { ttl: 600_000, owner: 'importer' });
    await child.kill();

    const next = new Lock(key, { cache: new RedisCache(redis), owner: 'importer' });

    expect(await next.tryAcquire()).to.equal(true);
    await next.release();
  });

  it('was stopped for longer than its ttl is told of the loss, and does not let go of the next holder', async () => {
    const key = uniqueName();
    const { child } = await hold(key, { ttl: 1000 });
    child.signal('SIGSTOP');
    const next = new Lock(key, { cache: new RedisCache(redis), ttl: 60_000 });
    await next.acquire({ waitFor: 30_000 });
    child.signal('SIGCONT');

    const aborted = await child.hears('aborted');
    const released = await child.hears('released');

    expect(aborted).to.include({ why: 'expired', held: false });
    expect(released.was).to.equal(false);
    expect(next.held).to.equal(true);
    expect(await next.release()).to.equal(true);
  });
});
