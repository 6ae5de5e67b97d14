/** What an adversary found in lines: bursts, several places, reused numbers, windows. */

import { setTimeout as delay } from 'node:timers/promises';
import type { Job } from 'bullmq';
import { expect } from 'chai';
import sinon from 'sinon';
import { ownerOf } from '../../src/bullmq/job.ts';
import { cacheOnConnection } from '../../src/bullmq/queue-cache.ts';
import { type LockCache, type LockEvent, locksOf, onceProcessor, RedisCache } from '../../src/index.ts';
import { Bench, oneOfEachKind } from '../support/bullmq.ts';
import { deferred, until } from '../support/index.ts';
import { enterStep, leaveStep } from '../support/steps.ts';

const HOUR = 3_600_000;

describe('A line', () => {
  let bench: Bench;
  beforeEach(async () => {
    bench = await Bench.open();
  });
  afterEach(async () => {
    sinon.restore();
    await bench.close();
  });

  it('keeps the order of a burst that two workers fetch together', async () => {
    const count = 120;
    await bench.queue.addBulk(
      Array.from({ length: count }, (_, n) => ({
        name: 'job',
        data: { n },
        opts: { removeOnComplete: false },
      })),
    );
    const ran: number[] = [];
    const guarded = onceProcessor((job: Job<{ n: number }>) => void ran.push(job.data.n), {
      key: 'k',
      whenLocked: 'in-order',
    });
    await Promise.all([
      bench.worker(guarded as never, { concurrency: 20 }),
      bench.worker(guarded as never, { concurrency: 20 }),
    ]);
    await until(async () => (await bench.queue.getCompletedCount()) === count, 'all have run', 60_000);

    expect(ran).to.deep.equal(Array.from({ length: count }, (_, n) => n));
  });

  describe('whose first has come for its turn, and has not asked for its key yet', () => {
    let first: Job;
    let finish: () => void;
    beforeEach(async () => {
      const gate = deferred();
      finish = gate.resolve;
      const guarded = onceProcessor(() => 'worked', { key: 'k', whenLocked: 'in-order', ttl: 200 });
      const slow = (job: Job, token?: string) =>
        job.data.isFirst ? gate.promise : guarded(job as never, token);
      await bench.worker(slow as never, { concurrency: 2 });
      first = await bench.add({ isFirst: true });
      await bench.reaches(first, 'active');
      const storedKey = bench.storedName('k');
      const holder = enterStep({ storedKey, owner: 'a holder', line: 'all' });
      await bench.cache.enter?.([holder]);
      await bench.cache.enter?.([enterStep({ storedKey, owner: ownerOf(first as never), line: 'all' })]);
      await bench.cache.leave?.([leaveStep(holder)]);
    });
    // The bench waits for the jobs that run.
    afterEach(() => finish());

    it('keeps it, though a question about its job is not answered', async () => {
      sinon.stub(RedisCache.prototype, 'runScript').rejects(new Error('Connection is closed.'));
      const second = await bench.add({});
      const startsOf = async (job: Job) => (await bench.queue.getJob(job.id as string))?.attemptsStarted ?? 0;
      await until(async () => (await startsOf(second)) >= 4 || (await second.isCompleted()));

      const query = { storedKey: bench.storedName('k'), owner: ownerOf(first as never) };
      const [line] = (await bench.cache.lines?.([query])) ?? [];
      expect(line).to.include({ held: 0, ahead: 0 });
    });

    it('lets a child of its first go before it, which waits for the child', async () => {
      const parent = { id: first.id as string, queue: first.queueQualifiedName };

      expect(await bench.result(await bench.add({}, { parent }))).to.equal('worked');
    });
  });

  it('names the next one at the end of a deduplication window, and not when the lease would have ended', async () => {
    const ran: unknown[] = [];
    const gate = deferred();
    await bench.worker(
      onceProcessor(
        async (job: Job) => {
          ran.push(job.id);
          await gate.promise;
        },
        { key: 'k', whenLocked: 'in-order', dedupeFor: 200 },
      ),
      { concurrency: 3 },
    );
    const jobs = [await bench.add({}), await bench.add({})];
    await bench.reaches(jobs[1] as Job, 'delayed');
    const startedAt = performance.now();
    gate.resolve();
    await bench.result(jobs[1] as Job);

    expect(ran).to.deep.equal(jobs.map(({ id }) => id));
    // The lease would have ended after 30 s.
    expect(performance.now() - startedAt).to.be.within(200, 15_000);
  });

  it('promotes no delayed job that has the number of a parked one, since the queue was obliterated', async () => {
    const holder = await bench.hold({ whenLocked: 'in-order', ttl: 500 });
    const parked = await bench.add({});
    await bench.reaches(parked, 'delayed');
    await bench.queue.obliterate({ force: true });
    await bench.add({}, { delay: 3_600_000 });
    const later = await bench.add({}, { delay: 3_600_000 });
    expect(later.id).to.equal(parked.id);

    await holder.worker.close(true);
    await bench.worker(onceProcessor(() => 'worked', { key: 'k', whenLocked: 'in-order', ttl: 500 }));
    const newcomer = await bench.add({});
    await bench.result(newcomer);

    expect(await later.getState()).to.equal('delayed');
  });
});

for (const setup of oneOfEachKind) {
  describe(`A job that is parked by a worker that closes (${setup.name})`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    for (const moment of ['it is parked', 'it looks whose turn it is']) {
      it(`comes at once to see whether it is its turn (closing begins when ${moment})`, async () => {
        const storedKey = bench.storedName('k');
        await bench.cache.enter?.([enterStep({ storedKey, ttl: 600_000, owner: 'a holder', line: 'all' })]);
        let closing: Promise<void> | undefined;
        const close = () => {
          closing ??= worker.close();
        };
        const onEvent = ({ type }: LockEvent) => {
          if (type === 'parked' && moment === 'it is parked') close();
        };
        const options = { key: 'k', whenLocked: 'in-order', ttl: 600_000, onEvent } as const;
        const worker = await bench.worker(onceProcessor(() => 'worked', options));
        const cache = (await cacheOnConnection(worker)) as Required<LockCache>;
        const { lines } = cache;
        cache.lines = queries => {
          if (moment !== 'it is parked') close();
          return lines.call(cache, queries);
        };

        const job = await bench.add({});
        await until(() => closing !== undefined);
        await closing;

        await bench.reaches(job, 'waiting');
      });
    }
  });

  describe(`A job whose turn is next (${setup.name})`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    /** A worker whose jobs run for as long as their data say, and a job of it that runs, and one that is parked behind it. */
    async function line(ms: number, options: object) {
      const ran: unknown[] = [];
      const guarded = onceProcessor(
        async (job: Job<{ ms?: number }>) => {
          ran.push(job.id);
          if (job.data.ms === undefined) throw new Error('asked to fail');
          await delay(job.data.ms);
        },
        { key: 'k', whenLocked: 'in-order', ttl: 60_000 },
      );
      const worker = await bench.worker(guarded, { concurrency: 5 });
      const first = await bench.addInTurn({ ms: 200 });
      const holder = await bench.addInTurn({ ms });
      const next = await bench.add({}, options);
      // It was parked when the holder began: the holder knows it from then on.
      await bench.result(first);
      await bench.reaches(next, 'delayed');
      await bench.reaches(holder, 'active');
      return { ran, worker, holder, next };
    }

    it('keeps its backoff when it has run before the holder ends, whose key was freed by force', async () => {
      const { ran, holder, next } = await line(2000, { attempts: 2, backoff: HOUR });
      await locksOf(bench.queue).forceRelease('k');
      await until(() => ran.includes(next.id));
      await bench.reaches(next, 'delayed');
      await bench.result(holder);
      // A job that comes after that comes after a promotion by the holder.
      const last = await bench.add({ ms: 0 });
      await bench.result(last);

      expect(ran.filter(id => id === next.id)).to.have.lengthOf(1);
      expect(await next.getState()).to.equal('delayed');
    });

    it('is not run for another of the same id, which was added with a delay (the worker closes)', async () => {
      const { ran, worker, next } = await line(1000, { jobId: 'chosen' });
      await next.remove();
      const other = await bench.add({ ms: 0 }, { jobId: 'chosen', delay: HOUR });
      await worker.close();

      expect(ran).to.not.include('chosen');
      expect(await other.getState()).to.equal('delayed');
    });

    it('is not run for another of the same number, since the queue was obliterated', async () => {
      await line(2000, {});
      await bench.queue.obliterate({ force: true });
      const others: Job[] = [];
      for (let i = 0; i < 3; i++) others.push(await bench.add({ ms: 0 }, { delay: HOUR }));
      await until(async () => (await bench.holder('k')) === undefined);
      // A job that comes after that comes after a promotion by the holder.
      await bench.result(await bench.add({ ms: 0 }));

      const states = await Promise.all(others.map(job => job.getState()));
      expect(states).to.deep.equal(['delayed', 'delayed', 'delayed']);
    });
  });

  describe(`A key with two places and a line (${setup.name})`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    it('leaves a failed job its backoff', async () => {
      const failed = new Set<unknown>();
      await bench.worker(
        onceProcessor(
          async (job: Job<{ fails?: boolean }>) => {
            await new Promise(resolve => setTimeout(resolve, 20));
            if (!job.data.fails || failed.has(job.id)) return;
            failed.add(job.id);
            throw new Error('asked to fail');
          },
          { key: 'k', whenLocked: 'in-order', concurrency: 2 },
        ),
        { concurrency: 8 },
      );
      const jobs: Job[] = [];
      for (let i = 0; i < 8; i++) {
        jobs.push(await bench.add({ fails: i === 3 }, { attempts: 2, backoff: 3_600_000 }));
      }
      const failing = jobs[3] as Job;
      for (const job of jobs) if (job !== failing) await bench.result(job);

      await bench.reaches(failing, 'delayed');
      expect((await bench.queue.getJob(failing.id as string))?.attemptsMade).to.equal(1);
    });

    it('is free to the next job when the job is removed for which a place was reserved', async () => {
      const gate = deferred();
      const guarded = onceProcessor(
        async (job: Job<{ name: string }>) => {
          if (job.data.name === 'fails') throw new Error('asked to fail');
          if (job.data.name === 'holds') await gate.promise;
          return 'worked';
        },
        { key: 'k', concurrency: 2, holdThroughRetries: true },
      );
      await bench.worker(guarded as never, { concurrency: 4 });
      const holding = await bench.add({ name: 'holds' });
      await bench.reaches(holding, 'active');
      const failing = await bench.add({ name: 'fails' }, { attempts: 2, backoff: 3_600_000 });
      await bench.reaches(failing, 'delayed');
      await failing.remove();

      expect(await bench.result(await bench.add({ name: 'runs' }))).to.equal('worked');
      gate.resolve();
      await bench.result(holding);
    });
  });
}
