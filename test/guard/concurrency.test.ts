/** The option `concurrency`: how many may hold a key at once. */

import type { Job } from 'bullmq';
import { expect } from 'chai';
import { caches, Lock, LockError, MemoryCache, once, onceProcessor } from '../../src/index.ts';
import { Bench, oneOfEachKind, setupNamed } from '../support/bullmq.ts';
import { deferred, until } from '../support/index.ts';

for (const setup of [...oneOfEachKind, setupNamed('BullMQ 6 on a Redis Cluster')]) {
  describe(`A key with three places (${setup.name})`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    /** Starts a worker whose jobs run until the gate opens. */
    async function start(options: object, gate: Promise<unknown>) {
      const counts = { running: 0, most: 0, ran: 0 };
      await bench.worker(
        onceProcessor(
          async () => {
            counts.ran++;
            counts.most = Math.max(counts.most, ++counts.running);
            await gate;
            counts.running--;
            return 'worked';
          },
          { key: 'k', concurrency: 3, ...options },
        ),
        { concurrency: 10 },
      );
      return counts;
    }

    it('runs three jobs at once, and skips the others', async () => {
      const gate = deferred();
      const counts = await start({}, gate.promise);
      const jobs = [];
      for (let i = 0; i < 6; i++) jobs.push(await bench.add({}));
      await until(async () => (await bench.queue.getCompletedCount()) === 3);

      expect(counts).to.deep.equal({ running: 3, most: 3, ran: 3 });
      gate.resolve();
      const results = await Promise.all(jobs.map(job => bench.result(job)));
      expect(results.filter(result => result === 'worked')).to.have.length(3);
      expect(await bench.holder('k')).to.equal(undefined);
    });

    it('lets the others wait in line, and each place serves the next', async () => {
      const gate = deferred();
      const counts = await start({ whenLocked: 'in-order' }, gate.promise);
      const jobs = [];
      for (let i = 0; i < 9; i++) jobs.push(await bench.add({}));
      await until(async () => (await bench.queue.getDelayedCount()) === 6);
      gate.resolve();
      for (const job of jobs) await bench.result(job);

      expect(counts).to.deep.equal({ running: 0, most: 3, ran: 9 });
    });

    it('lets the others wait in their slots', async () => {
      const gate = deferred();
      const counts = await start({ whenLocked: { waitFor: 30_000 } }, gate.promise);
      const jobs = [];
      for (let i = 0; i < 7; i++) jobs.push(await bench.add({}));
      await until(() => counts.running === 3);
      gate.resolve();
      for (const job of jobs) await bench.result(job);

      expect(counts).to.deep.equal({ running: 0, most: 3, ran: 7 });
    });

    it('has no more holders than a worker allows whose number is lower', async () => {
      const gate = deferred();
      const counts = await start({}, gate.promise);
      for (let i = 0; i < 3; i++) await bench.add({});
      await until(() => counts.running === 3);
      const ran: unknown[] = [];
      const other = await Bench.open(setup, bench.queueName);
      const guarded = onceProcessor((job: Job) => void ran.push(job.id), { key: 'k', whenLocked: 'raise' });
      const job = (await bench.add({})) as Job;
      await bench.reaches(job, 'completed', 'failed');

      let error: unknown;
      try {
        await guarded(
          Object.assign(Object.create(Object.getPrototypeOf(job)), job, { queue: other.queue }) as never,
        );
      } catch (thrown) {
        error = thrown;
      }
      gate.resolve();
      await other.close();
      expect(error).to.be.instanceOf(LockError);
      expect(ran).to.deep.equal([]);
    });
  });
}

describe('The option concurrency', () => {
  it('gives a Lock several holders', async () => {
    const lock = new Lock('k', { cache: new MemoryCache(), concurrency: 2 });
    const [first, second, third] = [
      await lock.tryAcquire(),
      await lock.tryAcquire(),
      await lock.tryAcquire(),
    ];

    expect([first?.held, second?.held, third]).to.deep.equal([true, true, undefined]);
    await first?.release();
    const fourth = await lock.tryAcquire();
    expect(fourth?.held).to.equal(true);
    expect((fourth?.fence as number) > (second?.fence as number)).to.equal(true);
  });

  it('bounds the calls of a function', async () => {
    caches.default = new MemoryCache();
    const gate = deferred();
    let running = 0;
    const download = once(
      async (_host: string) => {
        running++;
        await gate.promise;
        return 'done';
      },
      { key: 'download-{0}', concurrency: 3 },
    );
    const calls = Array.from({ length: 5 }, () => download('host'));
    await until(() => running === 3);
    gate.resolve();

    expect((await Promise.all(calls)).filter(result => result === 'done')).to.have.length(3);
    caches.default = undefined;
  });

  for (const [options, message] of [
    [{ concurrency: 0 }, "option 'concurrency' must be a whole number, 1 to 1000, not 0"],
    [{ concurrency: 1.5 }, "option 'concurrency' must be a whole number, 1 to 1000, not 1.5"],
    [{ concurrency: 1001 }, "option 'concurrency' must be a whole number, 1 to 1000, not 1001"],
    [{ concurrency: '3' }, "option 'concurrency' must be a whole number, 1 to 1000, not '3'"],
    [
      { concurrency: 2, dedupeFor: 1000 },
      "options 'concurrency: 2' and 'dedupeFor: 1000' contradict each other",
    ],
    [
      { concurrency: 2, whenLocked: 'replace' },
      "options 'concurrency: 2' and 'whenLocked: 'replace'' contradict each other",
    ],
  ] as const) {
    it(`refuses ${JSON.stringify(options)} where it is written`, () => {
      expect(() => onceProcessor(async () => {}, { key: 'k', ...options } as never)).to.throw(
        TypeError,
        message,
      );
    });
  }
});
