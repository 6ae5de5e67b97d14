/** What BullMQ does besides, while jobs hold, want and wait for locks. */

import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { FlowProducer, type Job } from 'bullmq';
import { expect } from 'chai';
import { caches, type LockCache, MemoryCache, once, onceProcessor } from '../../src/index.ts';
import { Bench, oneOfEachKind, setupNamed } from '../support/bullmq.ts';
import { deferred, redisOptions, until } from '../support/index.ts';

const on6 = setupNamed('BullMQ 6 with ioredis options');

for (const setup of oneOfEachKind) {
  describe(`a duplicate on ${setup.name}`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    it('is what a function makes of it: its result, or its failure', async () => {
      const gate = deferred();
      let running = false;
      await bench.worker(
        onceProcessor(
          async (_job: Job<{ n: number }>): Promise<string> => {
            running = true;
            await gate.promise;
            return 'worked';
          },
          {
            key: 'k',
            whenLocked: (job, holder) => {
              if (job.data.n === 3) throw new Error('no third');
              return `${job.data.n} finds it ${holder.state}`;
            },
          },
        ),
        { concurrency: 3 },
      );
      const first = await bench.add({ n: 1 });
      await until(() => running);

      expect(await bench.result(await bench.add({ n: 2 }))).to.equal('2 finds it running');
      expect(await bench.failure(await bench.add({ n: 3 }))).to.equal('no third');

      gate.resolve();
      expect(await bench.result(first)).to.equal('worked');
    });

    it('of a schedule is skipped while its last run lasts, and the schedule goes on', async () => {
      const gate = deferred();
      const ran: unknown[] = [];
      const ended: unknown[] = [];
      const worker = await bench.worker(
        onceProcessor(
          async (job: Job) => {
            ran.push(job.id);
            if (ran.length === 1) await gate.promise;
            return 'worked';
          },
          { key: 'k' },
        ),
        { concurrency: 3 },
      );
      worker.on('completed', (_job, result) => ended.push(result));

      await bench.queue.upsertJobScheduler('overlapping', { every: 100 }, { name: 'tick' });
      await until(() => ended.length >= 2);
      expect(ran).to.have.length(1);
      gate.resolve();
      await until(() => ran.length >= 3);
      await bench.queue.removeJobScheduler('overlapping');

      expect(ended.slice(0, 2)).to.deep.equal([undefined, undefined]);
    });

    it('that waits goes on when its queue is paused and resumed, and the worker leaves no lock when it closes', async () => {
      const gate = deferred();
      const ran: unknown[] = [];
      const worker = await bench.worker(
        onceProcessor(
          async (job: Job) => {
            ran.push(job.id);
            if (ran.length === 1) await gate.promise;
          },
          { key: 'k', whenLocked: { waitFor: 30_000 } },
        ),
        { concurrency: 2 },
      );
      const first = await bench.add({});
      await until(() => ran.length === 1);
      const second = await bench.add({});
      await until(async () => (await second.getState()) === 'active');

      await bench.queue.pause();
      const closed = worker.close();
      gate.resolve();
      await closed;

      expect(ran).to.deep.equal([first.id, second.id]);
      expect(await first.getState()).to.equal('completed');
      expect(await second.getState()).to.equal('completed');
      expect((await bench.storedNames()).filter(name => !name.includes('once-newest'))).to.deep.equal([]);
      await bench.queue.resume();
    });

    it('keeps its priority when it is put off', async () => {
      const gate = deferred();
      let running = false;
      const worker = await bench.worker(
        onceProcessor(
          async () => {
            running = true;
            await gate.promise;
          },
          { key: 'k', whenLocked: { retryIn: 60_000 } },
        ),
        { concurrency: 2 },
      );
      const first = await bench.add({}, { priority: 9 });
      await until(() => running);
      const duplicate = await bench.add({}, { priority: 7 });
      await until(async () => (await duplicate.getState()) === 'delayed');
      gate.resolve();
      await bench.result(first);
      await worker.close();

      await duplicate.promote();

      expect(await duplicate.getState()).to.equal('prioritized');
    });

    it('counts for the rate limit of its worker, as every job that is started', async () => {
      const gate = deferred();
      const ran: unknown[] = [];
      await bench.worker(
        onceProcessor(
          async (job: Job) => {
            ran.push(job.id);
            await gate.promise;
          },
          { key: 'k' },
        ),
        { concurrency: 5, limiter: { max: 2, duration: 300 } },
      );
      const jobs = await Promise.all(Array.from({ length: 4 }, () => bench.add({})));

      await until(async () => (await bench.queue.getCompletedCount()) === 3);
      gate.resolve();
      await until(async () => (await bench.queue.getCompletedCount()) === 4);

      expect(ran).to.have.length(1);
      expect(jobs.map(({ id }) => id)).to.include(ran[0]);
    });
  });
}

describe('a skipped child of a flow', () => {
  it('gives its parent null, and one that raises leaves it waiting', async () => {
    const bench = await Bench.open(on6);
    const flow = new FlowProducer({ connection: redisOptions() });
    const gate = deferred();
    const values: unknown[] = [];
    let running = false;
    const guarded = onceProcessor(
      async (job: Job<{ k: string }>) => {
        running = true;
        await gate.promise;
        return job.data.k;
      },
      { key: '{k}' },
    );
    const raising = onceProcessor(async () => 'ran', { key: () => 'same', raiseIfLock: true });
    await bench.worker(
      (async (job: Job, token?: string) => {
        if (job.name === 'parent') {
          values.push(Object.values(await job.getChildrenValues()));
          return 'parent done';
        }
        return job.name === 'raising' ? raising(job as never, token) : guarded(job as never, token);
      }) as never,
      { concurrency: 5 },
    );
    const first = await bench.add({ k: 'same' });
    await until(() => running);
    const { queueName } = bench;
    const child = (name: string) => ({ name, queueName, data: { k: 'same' } });

    const skipped = await flow.add({ name: 'parent', queueName, children: [child('skipped')] });
    const raised = await flow.add({ name: 'parent', queueName, children: [child('raising')] });
    expect(await bench.result(skipped.job as Job)).to.equal('parent done');
    const failed = raised.children?.[0]?.job as Job;
    await until(async () => (await failed.getState()) === 'failed');

    expect(values).to.deep.equal([[null]]);
    expect(await (raised.job as Job).getState()).to.equal('waiting-children');
    gate.resolve();
    await bench.result(first);
    await flow.close();
    await bench.close();
  });
});

describe('a scope', () => {
  it('is shared by a queue of BullMQ 6 and one of BullMQ 5', async () => {
    const six = await Bench.open(on6);
    const five = await Bench.open(setupNamed('BullMQ 5 with ioredis options'));
    const gate = deferred();
    const ran: string[] = [];
    const guarded = (version: string) =>
      onceProcessor(
        async () => {
          ran.push(version);
          await gate.promise;
          return version;
        },
        { key: 'k', scope: `shared-${six.queueName}` },
      );
    await six.worker(guarded('six'));
    await five.worker(guarded('five'));

    const first = await six.add({});
    await until(() => ran.length === 1);
    const duplicate = await five.result(await five.add({}));
    gate.resolve();

    expect(duplicate).to.equal(null);
    expect(await six.result(first)).to.equal('six');
    expect(ran).to.deep.equal(['six']);
    await six.close();
    await five.close();
  });
});

describe('onCacheError', () => {
  /** Fails as a store does that can't be reached. */
  const broken: LockCache = {
    acquire: () => Promise.reject(new Error('no route to the store')),
    renew: () => Promise.reject(new Error('no route to the store')),
    release: () => Promise.reject(new Error('no route to the store')),
    inspect: () => Promise.reject(new Error('no route to the store')),
    announce: () => Promise.reject(new Error('no route to the store')),
  };

  for (const whenLocked of ['skip', { waitFor: 1000 }, 'keep-last'] as const) {
    it(`'run' runs a job unguarded, and says so: ${JSON.stringify(whenLocked)}`, async () => {
      const bench = await Bench.open(on6);
      const told: any[] = [];
      const listen = (message: unknown) => told.push(message);
      subscribe('bullmq-once:failed', listen);
      const seen: unknown[] = [];
      await bench.worker(
        onceProcessor(
          async (_job: Job, _token, signal, lock) => {
            seen.push(lock.held, lock.fence, lock.key, signal?.aborted);
            return 'ran';
          },
          { key: 'k', cache: broken, onCacheError: 'run', whenLocked },
        ),
      );

      expect(await bench.result(await bench.add({}))).to.equal('ran');

      unsubscribe('bullmq-once:failed', listen);
      expect(seen).to.deep.equal([false, 0, 'k', false]);
      expect(told).to.have.length(1);
      expect(told[0]).to.include({ key: 'k', unguarded: true });
      expect(told[0].error.cause.message).to.equal('no route to the store');
      await bench.close();
    });
  }

  it("'raise', the default, fails the job", async () => {
    const bench = await Bench.open(on6);
    await bench.worker(onceProcessor(async () => 'ran', { key: 'k', cache: broken }));

    expect(await bench.failure(await bench.add({}))).to.match(/no route to the store/);

    await bench.close();
  });

  it("'run' hides no error of another kind", async () => {
    const guarded = once(async () => 'ran', { key: 'k', cache: 'nobody', onCacheError: 'run' });

    const error = await guarded().catch(thrown => thrown);

    expect(error).to.be.instanceOf(TypeError);
    expect(caches.get('nobody')).to.equal(undefined);
  });

  it('is for functions too', async () => {
    const guarded = once(async () => 'ran', { key: 'k', cache: broken, onCacheError: 'run' });

    expect(await guarded()).to.equal('ran');
  });
});

describe('whenLocked, told a wrong form', () => {
  for (const [options, problem] of [
    [{ whenLocked: 'skip', raiseIfLock: true }, /'raiseIfLock' and 'whenLocked' say the same thing twice/],
    [{ whenLocked: 'raise', raiseIfLock: true }, /give one of them/],
    [{ whenLocked: 'wait' }, /'whenLocked' must be 'skip', 'raise', .* or 'keep-last', not 'wait'/],
    [{ whenLocked: {} }, /'whenLocked' must be .* not an object/],
    [
      { whenLocked: { retryIn: 0 } },
      /'whenLocked.retryIn' must be .* 1 or more, or 'holder', or a function .* not 0/,
    ],
    [
      { whenLocked: { retryIn: 5, limit: -1 } },
      /'whenLocked.limit' must be a whole number, 0 or more, not -1/,
    ],
    [{ whenLocked: { retryIn: 5, waitFor: 5 } }, /'whenLocked' has no 'waitFor' beside 'retryIn'/],
    [{ whenLocked: { waitFor: -1 } }, /'whenLocked.waitFor' must be .* not -1/],
    [{ onCacheError: 'skip' }, /'onCacheError' must be 'raise' or 'run', not 'skip'/],
    [{ holdThroughRetries: 1 }, /'holdThroughRetries' must be true or false, not 1/],
  ] as const) {
    it(`refuses it where it is written: ${JSON.stringify(options)}`, () => {
      expect(() => onceProcessor(async () => {}, options as never)).to.throw(TypeError, problem);
    });
  }

  it('refuses of a function what only a job can do', () => {
    const cache = new MemoryCache();

    expect(() => once(() => {}, { key: 'k', cache, whenLocked: 'keep-last' as never })).to.throw(
      TypeError,
      "once: option 'whenLocked' must be 'skip', 'raise', { waitFor: ms } or a function, not 'keep-last'",
    );
  });
});
