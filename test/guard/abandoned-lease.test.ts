/** Keys that nobody will release are freed, and no others: what is tried is what went wrong once. */

import type { Job, Worker } from 'bullmq';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import sinon from 'sinon';
import { ownerOf } from '../../src/bullmq/job.ts';
import { reservationFor } from '../../src/guard/reserve.ts';
import { MemoryCache, onceProcessor, RedisCache } from '../../src/index.ts';
import { Bench, oneOfEachKind, setupNamed } from '../support/bullmq.ts';
import { connectRedis, until } from '../support/index.ts';
import { RedisServer } from '../support/redis-server.ts';
import { acquire, acquireStep, release } from '../support/steps.ts';

/** Longer than any test takes. */
const BACKOFF = 3_600_000;

for (const setup of oneOfEachKind) {
  const isPostgres = setup.name.includes('PostgreSQL');
  describe(`A key that is held by a job of BullMQ (${setup.name})`, () => {
    let bench: Bench;
    let ran: unknown[];
    beforeEach(async () => {
      bench = await Bench.open(setup);
      ran = [];
    });
    afterEach(() => bench.close());

    function start(options: object = {}, worker: object = {}): Promise<Worker> {
      return bench.worker(
        onceProcessor(
          (job: Job<{ fails?: boolean }>) => {
            ran.push(job.id);
            if (job.data.fails && ran.length === 1) throw new Error('failed once');
            return `worked: ${job.id}`;
          },
          { key: 'k', ttl: 2000, holdThroughRetries: true, ...options },
        ),
        { concurrency: 2, ...worker },
      );
    }

    if (!isPostgres) {
      for (const timestamp of [1.7e12 + 0.5, '1700000000000.75', '12abc']) {
        it(`stays reserved for a job with an odd time of creation (${timestamp})`, async () => {
          await start();
          const job = await bench.add({ fails: true }, { attempts: 2, backoff: BACKOFF, timestamp });
          await bench.reaches(job, 'delayed');

          expect(await bench.result(await bench.add({}))).to.equal(null);
        });
      }
    }

    it('stays held by a lease that is not overdue, however long the ttl of the one who asks is', async () => {
      const worker = await start();
      const done = await bench.add({});
      await bench.result(done);
      const store = bench.cache;
      const step = acquireStep({
        storedKey: bench.storedName('k'),
        owner: ownerOf(done as never),
        ttl: 5000,
      });
      await acquire(store, step);

      await worker.close();
      await bench.worker(onceProcessor(() => 'worked', { key: 'k', ttl: 600_000 }));

      expect(await bench.result(await bench.add({}))).to.equal(null);
      await release(store, step);
    });

    it('is free to its own job that was failed for good and is retried by hand, its attempts counted anew', async () => {
      await start({}, { settings: { backoffStrategy: () => -1 } });
      const options = { attempts: 5, backoff: { type: 'custom' }, stackTraceLimit: 0 };
      const job = await bench.add({ fails: true }, options);
      await bench.failure(job);

      await job.retry('failed', { resetAttemptsMade: true, resetAttemptsStarted: true } as never);
      await until(() => ran.length === 2);

      expect(ran).to.deep.equal([job.id, job.id]);
    });

    it('is free to a job that has the id and the time of the one that reserved it and was removed', async () => {
      await start();
      const timestamp = Date.now();
      const identity = { jobId: 'delivery-1', timestamp };
      const job = await bench.add({ fails: true }, { ...identity, attempts: 2, backoff: BACKOFF });
      await bench.reaches(job, 'delayed');
      await job.remove();

      expect(await bench.result(await bench.add({}, identity))).to.equal('worked: delivery-1');
    });

    it('fails a grandchild of the job that reserves it, with an error that says so', async () => {
      const { WaitingChildrenError } = await import(setup.name.includes('BullMQ 5') ? 'bullmq5' : 'bullmq');
      const parentOf = (job: Job) => ({ id: job.id as string, queue: job.queueQualifiedName });
      const guarded = onceProcessor(
        async (job: Job, token) => {
          await bench.queue.add('middle', {}, { parent: parentOf(job), jobId: 'middle' });
          if (await job.moveToWaitingChildren(token as string)) throw new WaitingChildrenError();
        },
        { key: 'k', holdThroughRetries: true },
      );
      await bench.worker(
        async (job: Job, token?: string) => {
          if (job.name !== 'middle') return guarded(job as never, token);
          await bench.queue.add('leaf', {}, { parent: parentOf(job), jobId: 'leaf', delay: BACKOFF });
          if (await job.moveToWaitingChildren(token as string)) throw new WaitingChildrenError();
          return undefined;
        },
        { concurrency: 3 },
      );
      const root = await bench.add({});
      await bench.reaches(root, 'waiting-children');
      await until(async () => (await bench.queue.getJob('leaf')) !== undefined);
      const leaf = (await bench.queue.getJob('leaf')) as Job;
      await leaf.promote();

      expect(await bench.failure(leaf)).to.match(/is reserved by the job's own parent/);
    });

    it("lets a newest job that is parked behind a reservation come back soon: nobody promotes it ('keep-last')", async () => {
      await start({ whenLocked: 'keep-last' });
      const job = await bench.add({ fails: true }, { attempts: 2, backoff: BACKOFF });
      await bench.reaches(job, 'delayed');
      const newest = await bench.add({});
      await bench.reaches(newest, 'delayed');

      expect((await bench.queue.getJob(newest.id as string))?.delay).to.be.at.most(5000);
    });

    it('is reported as free in the mode observe where it would be', async () => {
      const outcomes: string[] = [];
      const worker = await start({ onEvent: ({ type }: { type: string }) => outcomes.push(type) });
      const job = await bench.add({ fails: true }, { attempts: 2, backoff: BACKOFF });
      await bench.reaches(job, 'delayed');
      await job.remove();
      await worker.close();
      await start({ mode: 'observe', onEvent: ({ type }: { type: string }) => outcomes.push(type) });

      await bench.result(await bench.add({}));

      expect(outcomes).not.to.include('skipped');
    });
  });
}

describe('A key that is reserved by a job on another server, whose queue has the same name', () => {
  it('stays reserved until that job is due: a job that is not found here may be there', async () => {
    const [bench, elsewhere] = [await Bench.open(), await RedisServer.start()];
    const redis = connectRedis();
    try {
      const cache = new RedisCache(redis);
      const { Queue, Worker } = await import('bullmq');
      const connection = { host: '127.0.0.1', port: elsewhere.port };
      const queue = new Queue(bench.queueName, { connection });
      const options = { key: 'k', cache, ttl: 1000, holdThroughRetries: true } as const;
      const failing = onceProcessor(() => {
        throw new Error('failed once');
      }, options);
      const worker = new Worker(bench.queueName, failing, { connection });
      await queue.add('job', {}, { attempts: 2, backoff: BACKOFF, jobId: 'elsewhere' });
      await until(async () => (await bench.holder('k'))?.state === 'reserved');
      await bench.worker(onceProcessor(() => 'worked', options));

      expect(await bench.result(await bench.add({}))).to.equal(null);
      await worker.close();
      await queue.close();
    } finally {
      redis.disconnect();
      await bench.close();
      await elsewhere.stop();
    }
  });
});

describe('A key that is reserved by a job about which BullMQ is asked', () => {
  let bench: Bench;
  beforeEach(async () => {
    bench = await Bench.open();
  });
  afterEach(async () => {
    sinon.restore();
    await bench.close();
  });

  /** The owner is overdue for longer than its ttl. */
  async function reserveFor(owner: string): Promise<void> {
    const step = acquireStep({ storedKey: bench.storedName('k'), owner, ttl: 100 });
    await acquire(bench.cache, step);
    await bench.cache.release([{ ...step, dedupeFor: 0, reservation: { dueIn: 0, lastsFor: BACKOFF } }]);
    await until(async () => ((await bench.holder('k'))?.dueIn ?? 0) < -100);
  }

  async function reserveForDelayedJob(): Promise<void> {
    await reserveFor(ownerOf((await bench.add({}, { delay: BACKOFF })) as never));
  }

  async function askWhere(answer: () => Promise<unknown>): Promise<unknown> {
    sinon.stub(RedisCache.prototype, 'runScript').callsFake(answer);
    await bench.worker(onceProcessor(() => 'worked', { key: 'k', ttl: 300 }));
    return bench.result(await bench.add({}));
  }

  function fail(message: string): never {
    throw new Error(message);
  }

  it('stays reserved if the connection is lost before the answer comes', async () => {
    await reserveForDelayedJob();

    expect(await askWhere(async () => fail('Connection is closed.'))).to.equal(null);
  });

  it('stays reserved if no answer comes', async () => {
    await reserveForDelayedJob();

    expect(await askWhere(() => new Promise(() => {}))).to.equal(null);
  });

  for (const [owner, result] of Object.entries({ 'its own queue': null, 'another queue': 'worked' })) {
    it(`${result ? 'is free' : 'stays reserved'} for a job of ${owner} if the locks and the jobs are in different slots`, async () => {
      await (result ? reserveFor('bull:another:1@1') : reserveForDelayedJob());

      expect(await askWhere(async () => fail("CROSSSLOT Keys in request don't hash …"))).to.equal(result);
    });
  }
});

describe('A key that is to be freed', () => {
  it('fails the job with a CacheError if the cache does not answer in time', async () => {
    class NeverFrees extends MemoryCache {
      override forceRelease(): Promise<boolean[]> {
        return new Promise(() => {});
      }
    }
    const bench = await Bench.open(setupNamed('BullMQ 6 with ioredis options'));
    const cache = new NeverFrees();
    const step = acquireStep({ storedKey: bench.storedName('k'), owner: 'bull:gone:1@1', ttl: 100 });
    await acquire(cache, step);
    await cache.release([{ ...step, dedupeFor: 0, reservation: { dueIn: 0, lastsFor: 60_000 } }]);
    await until(async () => ((await cache.inspect([step.storedKey]))[0]?.dueIn ?? 0) < -100);
    await bench.worker(onceProcessor(() => 'worked', { key: 'k', cache, ttl: 300 }));

    expect(await bench.failure(await bench.add({}))).to.contain('the cache did not answer in time');
    await bench.close();
  });
});

describe('The time at which a job is expected back', () => {
  for (const delay of ['abc', Number.NaN, -5, null, {}]) {
    it(`is unknown where its backoff is no number of ms (${JSON.stringify(delay)})`, () => {
      const job = { opts: { attempts: 2, backoff: { type: 'fixed', delay } } } as never;

      const reservation = reservationFor(job, new Error('failed'), { maxHold: Number.POSITIVE_INFINITY });

      expect(reservation?.dueIn).to.equal(0);
    });
  }
});

describe('The first release on a server', () => {
  it('needs no script that the acquisition has not sent: else the completion of the job would overtake it', async () => {
    const server = await RedisServer.start();
    const redis = new Redis(server.url);
    const cache = new RedisCache(redis);
    const step = acquireStep();
    await acquire(cache, step);
    await redis.config('RESETSTAT');

    await release(cache, step);

    expect(await redis.info('commandstats')).not.to.match(/cmdstat_eval:/);
    redis.disconnect();
    await server.stop();
  });
});
