/** Guarantee 11: what a job reserves is nobody else's while BullMQ still has the job to run, and is free as soon as BullMQ has not. */

import type { Job } from 'bullmq';
import * as bullmq6 from 'bullmq';
import * as bullmq5 from 'bullmq5';
import { expect } from 'chai';
import sinon from 'sinon';
import { Lock, locksOf, MemoryCache, onceProcessor, RedisCache } from '../../src/index.ts';
import { Bench, oneOfEachKind, plainJob } from '../support/bullmq.ts';
import { connectRedis, until } from '../support/index.ts';

/** Longer than any test takes. */
const BACKOFF = 3_600_000;

for (const setup of oneOfEachKind) {
  const isBullmq5 = setup.name.startsWith('BullMQ 5');
  const { DelayedError, UnrecoverableError, WaitingChildrenError } = isBullmq5 ? bullmq5 : bullmq6;
  class CardDeclined extends UnrecoverableError {}
  class Later extends DelayedError {}

  describe(`What holdThroughRetries reserves (${setup.name})`, () => {
    let bench: Bench;
    let ran: unknown[];
    beforeEach(async () => {
      bench = await Bench.open(setup);
      ran = [];
    });
    afterEach(() => bench.close());

    /** Starts a worker whose jobs do what their data say at their first run, and work at the next. */
    async function start(
      firstRun: (job: Job, token: string) => unknown,
      {
        guard = {},
        ...options
      }: { guard?: Parameters<typeof onceProcessor>[1]; [option: string]: unknown } = {},
    ): Promise<void> {
      await bench.worker(
        onceProcessor(
          async (job: Job, token) => {
            const isFirst = ran.length === 0;
            ran.push(job.id);
            if (isFirst) await firstRun(job, token as string);
            return `worked: ${job.id}`;
          },
          { key: 'k', ttl: 500, holdThroughRetries: true, ...guard } as object,
        ),
        { concurrency: 2, ...options },
      );
    }

    function fail(): never {
      throw new Error('failed once');
    }

    /** A job that failed, and is delayed until its retry. */
    async function reserve(options: object = { attempts: 2, backoff: BACKOFF }): Promise<Job> {
      const job = await bench.add({}, options);
      await bench.reaches(job, 'delayed');
      expect(await bench.holder('k')).to.include({ state: 'reserved' });
      return job;
    }

    async function expectFree(): Promise<void> {
      const next = await bench.add({});
      expect(await bench.result(next)).to.equal(`worked: ${next.id}`);
      expect(await bench.holder('k')).to.equal(undefined);
    }

    const ends: Record<string, (job: Job) => unknown> = {
      'is removed': job => job.remove(),
      'is drained': () => bench.queue.drain(true),
      'is cleaned': () => bench.queue.clean(0, 100, 'delayed'),
    };
    for (const [how, end] of Object.entries(ends)) {
      it(`is free to the next job when its job ${how}`, async () => {
        await start(fail);
        const job = await reserve();
        await until(async () => {
          await end(job);
          return (await bench.queue.getJob(job.id as string)) === undefined;
        });

        await expectFree();
      });
    }

    if (setup.onRedis) {
      it('is free to a job that comes second to free it', async () => {
        await start(fail);
        const job = await reserve();
        await job.remove();
        const { forceRelease } = RedisCache.prototype;
        const freeing = sinon.stub(RedisCache.prototype, 'forceRelease').callsFake(async function (
          this: RedisCache,
          steps,
        ) {
          // Another job has done so a moment before.
          await forceRelease.call(this, steps);
          return forceRelease.call(this, steps);
        });
        try {
          await expectFree();
        } finally {
          freeing.restore();
        }

        expect(freeing.called).to.equal(true);
      });
    }

    it('is free to the next job when its queue was obliterated', async () => {
      await start(fail);
      await reserve();
      await bench.queue.obliterate({ force: true });
      await bench.queue.resume();

      await expectFree();
    });

    it('is free when its job, promoted, has succeeded', async () => {
      await start(fail);
      const job = await reserve();
      await job.promote();

      expect(await bench.result(job)).to.equal(`worked: ${job.id}`);
      await expectFree();
    });

    const finalFailures: Record<
      string,
      [first: (job: Job, token: string) => unknown, worker?: Record<string, unknown>]
    > = {
      'it throws a subclass of UnrecoverableError': [
        () => {
          throw new CardDeclined('declined');
        },
      ],
      ...(isBullmq5 && {
        'it is discarded': [
          (job: Job) => {
            (job as never as bullmq5.Job).discard();
            fail();
          },
        ],
      }),
      'its custom backoff says so': [fail, { settings: { backoffStrategy: () => -1 } }],
    };
    for (const [how, [firstRun, worker]] of Object.entries(finalFailures)) {
      it(`is free to the next job when its job fails for good (${how})`, async () => {
        await start(firstRun, worker);
        const job = await bench.add({}, { attempts: 5, backoff: { type: 'custom', delay: BACKOFF } });
        await bench.failure(job);

        await expectFree();
      });
    }

    it('is kept when its job moves itself with a subclass of DelayedError', async () => {
      await start(async (job, token) => {
        await job.moveToDelayed(Date.now() + BACKOFF, token);
        throw new Later();
      });
      const job = await bench.add({});
      await bench.reaches(job, 'delayed');

      expect(await bench.result(await bench.add({}))).to.equal(null);
      await job.promote();

      expect(await bench.result(job)).to.equal(`worked: ${job.id}`);
      await expectFree();
    });

    it("is kept for as long as its job's retry stays in a backlog, far beyond the ttl", async () => {
      await start(fail);
      const job = await bench.add({}, { attempts: 2, backoff: 100 });
      await until(async () => (await bench.holder('k'))?.state === 'reserved');
      await bench.queue.pause();
      await until(async () => ((await bench.holder('k'))?.dueIn ?? 0) < -1500);

      // A job of another queue of the key's scope would find the key held too.
      const state = (await bench.holder('k'))?.state;
      const duplicate = await bench.add({}, { lifo: true });
      await bench.queue.resume();

      expect(state).to.equal('reserved');
      expect(await bench.result(duplicate)).to.be.oneOf([null, `worked: ${duplicate.id}`]);
      expect(await bench.result(job)).to.equal(`worked: ${job.id}`);
      expect(ran[1]).to.equal(ran[0]);
    });

    it('is free in each place of its key', async () => {
      const guarded = onceProcessor(
        async (job: Job) => {
          ran.push(job.id);
          if (job.data.fails) fail();
          await until(() => ran.length === 4, 'both run at once');
        },
        { key: 'k', ttl: 500, concurrency: 2, holdThroughRetries: true },
      );
      await bench.worker(guarded, { concurrency: 2 });
      const jobs: Job[] = [];
      for (let i = 0; i < 2; i++)
        jobs.push(await bench.add({ fails: true }, { attempts: 2, backoff: BACKOFF }));
      for (const job of jobs) await bench.reaches(job, 'delayed');
      for (const job of jobs) await job.remove();
      const next = [await bench.add({}, { delay: BACKOFF }), await bench.add({}, { delay: BACKOFF })];
      // They come in the same moment: each finds the first place, and one of them has to ask for the second.
      await Promise.all(next.map(job => guarded(job, 'a token')));

      expect(ran).to.have.members([...jobs, ...next].map(({ id }) => id));
    });

    for (const whenLocked of ['skip', 'in-order'] as const) {
      it(`is free in one place while another is reserved (whenLocked: '${whenLocked}')`, async () => {
        const guarded = onceProcessor(
          async (job: Job) => {
            if (job.data.fails) fail();
            return 'worked';
          },
          { key: 'k', ttl: 60_000, concurrency: 3, holdThroughRetries: true, whenLocked },
        );
        await bench.worker(guarded as never, { concurrency: 4 });
        const jobs: Job[] = [];
        for (let i = 0; i < 3; i++) {
          jobs.push(await bench.add({ fails: true }, { attempts: 2, backoff: BACKOFF }));
          await bench.reaches(jobs[i] as Job, 'delayed');
        }
        await jobs[2]?.remove();

        expect(await bench.result(await bench.add({}))).to.equal('worked');
        const states = await Promise.all(jobs.slice(0, 2).map(job => job.getState()));
        expect(states).to.deep.equal(['delayed', 'delayed']);
      });
    }

    it('is free when it has lasted for maxHold, however long the backoff is', async () => {
      await start(fail, { guard: { maxHold: 600 } });
      await bench.add({}, { attempts: 2, backoff: { type: 'fixed', delay: 3.15e12 } });
      await until(async () => (await bench.holder('k'))?.state === 'reserved');

      expect((await bench.holder('k'))?.expiresIn).to.be.at.most(600);
      await until(async () => (await bench.holder('k')) === undefined);
    });

    it('fails a child of its job with an error that says so: the two would wait for each other', async () => {
      await start(async job => {
        const parent = { id: job.id as string, queue: job.queueQualifiedName };
        await bench.queue.add('child', {}, { parent, jobId: 'the-child', delay: BACKOFF });
        if (await job.moveToWaitingChildren(job.token as string)) throw new WaitingChildrenError();
      });
      const parent = await bench.add({});
      await bench.reaches(parent, 'waiting-children');
      const child = (await bench.queue.getJob('the-child')) as Job;
      await child.promote();

      expect(await bench.failure(child)).to.match(/is reserved by the job's own parent, job \S+ of/);
    });

    it('emits `reserved`, and neither `lost` nor `reclaimed` when its job goes on', async () => {
      const types: string[] = [];
      await start(fail, { guard: { onEvent: ({ type }: { type: string }) => types.push(type) } as object });
      const job = await bench.add({}, { attempts: 2 });
      await bench.result(job);
      await until(async () => types.includes('released'));

      expect(types.filter(type => type !== 'renewed')).to.deep.equal([
        'acquired',
        'reserved',
        'acquired',
        'released',
      ]);
    });
  });
}

describe('What holdThroughRetries reserves under a scope of two queues', () => {
  it('is looked up in the other queue', async () => {
    const [one, other] = await Promise.all([Bench.open(), Bench.open()]);
    try {
      const scope = `shared-${one.queueName}`;
      const options = { key: 'k', scope, ttl: 500, holdThroughRetries: true } as const;
      await one.worker(
        onceProcessor(async () => {
          throw new Error('failed once');
        }, options),
      );
      await other.worker(onceProcessor(async () => 'worked', options));
      const job = await one.add({}, { attempts: 2, backoff: BACKOFF });
      await one.reaches(job, 'delayed');

      const whileReserved = await other.result(await other.add({}));
      await job.remove();
      const afterwards = await other.result(await other.add({}));

      expect(whileReserved).to.equal(null);
      expect(afterwards).to.equal('worked');
    } finally {
      await Promise.all([one.close(), other.close()]);
    }
  });

  it('is kept when the job of the other queue that asks was removed meanwhile, and so can hardly ask', async () => {
    const [one, other] = await Promise.all([Bench.open(), Bench.open()]);
    try {
      const scope = `shared-${one.queueName}`;
      const options = { key: 'k', scope, ttl: 500, holdThroughRetries: true } as const;
      const guarded = onceProcessor(async () => {
        throw new Error('failed once');
      }, options);
      const failing = await one.add({}, { attempts: 2, backoff: 100 });
      const worker = await one.worker(guarded);
      await until(async () => (await one.queue.getDelayedCount()) > 0);
      await worker.close();
      const locks = locksOf(one.queue, { scope });
      await until(async () => ((await locks.get('k'))?.dueIn ?? 0) < -1000);
      const asking = await other.add({}, { delay: BACKOFF });
      await asking.remove();

      const result = await guarded(asking, 'a token');

      expect(result).to.equal(undefined);
      expect(await locks.get('k')).to.include({ state: 'reserved', jobId: failing.id });
    } finally {
      await Promise.all([one.close(), other.close()]);
    }
  });

  it('is free to a lock that waits before a job of its process: the job asks BullMQ for it', async () => {
    const bench = await Bench.open();
    const redis = connectRedis();
    try {
      const scope = `shared-${bench.queueName}`;
      await bench.worker(
        onceProcessor(
          async (job: Job) => {
            if (job.opts.attempts === 2) throw new Error('failed once');
            return 'worked';
          },
          { key: 'k', scope, ttl: 500, holdThroughRetries: true, whenLocked: { waitFor: BACKOFF } },
        ),
      );
      const job = await bench.add({}, { attempts: 2, backoff: BACKOFF });
      await bench.reaches(job, 'delayed');
      await job.remove();
      const lock = new Lock('k', { cache: new RedisCache(redis), scope });

      const waiting = lock.acquire({ waitFor: BACKOFF });
      const next = await bench.add({});

      await (await waiting).release();
      expect(await bench.result(next)).to.equal('worked');
    } finally {
      redis.disconnect();
      await bench.close();
    }
  });

  it('stays held for a lock that waits before a job of its process, on a cache that can free nothing', async () => {
    const bench = await Bench.open();
    const redis = connectRedis();
    try {
      const cache = Object.assign(new RedisCache(redis), { forceRelease: undefined });
      const options = { key: 'k', cache, ttl: 500, holdThroughRetries: true } as const;
      await bench.worker(
        onceProcessor(
          async () => {
            throw new Error('failed once');
          },
          { ...options, scope: bench.queueName, whenLocked: { waitFor: BACKOFF } },
        ),
      );
      const job = await bench.add({}, { attempts: 2, backoff: BACKOFF });
      await bench.reaches(job, 'delayed');
      await job.remove();
      const asked = sinon.spy(cache, 'exchange');
      const lock = new Lock('k', { cache, scope: bench.queueName });

      const waiting = lock.acquire({ waitFor: 1000 });
      await bench.add({});
      const error = await waiting.then(
        () => undefined,
        thrown => thrown,
      );

      expect(error).to.have.property('code', 'ERR_LOCK_HELD');
      // It pauses between two requests, of which the job's own are some.
      expect(asked.callCount).to.be.within(2, 100);
    } finally {
      redis.disconnect();
      await bench.close();
    }
  });
});

describe('What holdThroughRetries reserves where BullMQ cannot be asked', () => {
  it('is kept until its ttl has passed since its job was expected back', async () => {
    const backoff = 300;
    const ttl = 1000;
    const options = { key: 'k', cache: new MemoryCache(), ttl, holdThroughRetries: true } as const;
    const failing = onceProcessor(() => Promise.reject(new Error('failed once')), options);
    const guarded = onceProcessor(async () => 'worked', options);
    const reservedFrom = performance.now();
    await failing(plainJob('1', { attemptsStarted: 1, opts: { attempts: 2, backoff } })).catch(() => {});

    let nth = 2;
    await until(async () => (await guarded(plainJob(`${nth++}`, { attemptsStarted: 1 }))) === 'worked');

    expect(nth).to.be.above(3);
    expect(performance.now() - reservedFrom).to.be.above(backoff + ttl - 1);
  });
});
