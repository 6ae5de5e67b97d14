/** A parked job does not start anew at the end of its queue. */

import type { Job } from 'bullmq';
import { expect } from 'chai';
import { onceProcessor } from '../../src/index.ts';
import { Bench, oneOfEachKind } from '../support/bullmq.ts';
import { type Deferred, deferred, until } from '../support/index.ts';

for (const setup of oneOfEachKind) {
  describe(`A job whose turn is next (${setup.name})`, () => {
    let bench: Bench;
    let ran: string[];
    /** Each ends a run, by the number of its job. */
    let ends: Map<number, Deferred>;
    beforeEach(async () => {
      bench = await Bench.open(setup);
      ran = [];
      ends = new Map();
    });
    afterEach(async () => {
      for (const end of ends.values()) end.resolve();
      await bench.close();
    });

    type Numbered = Job<{ readonly n: number; readonly key: string }>;

    async function add(n: number, key: string, opts = {}): Promise<Job> {
      ends.set(n, deferred());
      return bench.add({ n, key }, opts);
    }

    const openWorker = (concurrency: number) =>
      bench.worker(
        onceProcessor(
          async ({ data: { n, key } }: Numbered) => {
            ran.push(`${key} ${n}`);
            await ends.get(n)?.promise;
          },
          { key: '{key}', whenLocked: 'in-order' },
        ) as never,
        { concurrency },
      );

    const hasRun = (what: string) => until(() => ran.includes(what), `${what} runs`);

    /** It was fetched by the slot that became free, or is the next of those that wait. */
    const isNext = (job: Job) =>
      until(async () => {
        const waiting = [await bench.queue.getWaiting(0, 0), await bench.queue.getPrioritized(0, 0)];
        return ran.includes(`a ${job.data.n}`) || waiting.flat()[0]?.id === job.id;
      }, 'it is the next to be fetched');

    // On PostgreSQL a worker passes over a row that another session changes at that moment: there the order is not certain.
    if (!setup.name.includes('PostgreSQL')) {
      for (const [title, opts] of [
        ['runs before those that wait, in a long queue', {}],
        ['runs before those of its priority', { priority: 3 }],
      ] as const) {
        it(title, async () => {
          await add(1, 'a', opts);
          const second = await add(2, 'a', opts);
          for (const n of [10, 11, 12, 13]) await add(n, `other-${n}`, opts);
          await openWorker(2);
          await hasRun('other-10 10');
          await bench.reaches(second, 'delayed');

          ends.get(1)?.resolve();
          await isNext(second);
          for (const n of [10, 11]) ends.get(n)?.resolve();

          await hasRun('a 2');
          expect(ran).to.not.include('other-13 13');
        });
      }

      it('runs before those that wait, in a queue that is paused when its turn comes', async () => {
        await add(1, 'a');
        const second = await add(2, 'a');
        await add(10, 'other-10');
        await openWorker(2);
        await hasRun('other-10 10');
        await bench.reaches(second, 'delayed');
        await bench.queue.pause();
        for (const n of [11, 12]) await add(n, `other-${n}`);

        ends.get(1)?.resolve();
        const isFirst = async () =>
          (await bench.queue.getJobs(['wait', 'paused'] as never, 0, 0, true))[0]?.id === second.id;
        await until(isFirst, 'it is the first of those that wait');
        await bench.queue.resume();
        await until(() => ran.length > 2);

        // On PostgreSQL a worker passes over a row that another session has locked for a moment.
        if (setup.onRedis) expect(ran).to.deep.equal(['a 1', 'other-10 10', 'a 2']);
      });

      /** The first of three ends. The second runs from now on, and knows the third, which is parked. */
      async function secondRuns(third: object = {}): Promise<Job> {
        await add(1, 'a');
        const second = await add(2, 'a');
        const parked = await add(3, 'a', third);
        for (const n of [10, 11, 12, 13, 14, 15]) await add(n, `other-${n}`);
        await openWorker(2);
        await hasRun('other-10 10');
        await bench.reaches(parked, 'delayed');
        ends.get(1)?.resolve();
        await isNext(second);
        for (const n of [10, 11]) ends.get(n)?.resolve();
        await hasRun('a 2');
        return parked;
      }

      it('is another one than a job that its producer has given its id since', async () => {
        const third = await secondRuns({ jobId: 'third' });
        await third.remove();
        const later = await add(4, 'a', { jobId: 'third', delay: 3_600_000 });

        for (const end of ends.values()) end.resolve();
        await hasRun('other-15 15');

        expect((await bench.queue.getJob('third'))?.delay).to.equal(3_600_000);
        expect(await later.getState()).to.equal('delayed');
      });

      it('keeps the priority that it was given while it was parked', async () => {
        const startedAt = performance.now();
        const third = await secondRuns();
        await until(() => performance.now() - startedAt > 2500, 'the second runs for more than a second');
        await ((await bench.queue.getJob(third.id as string)) as Job).changePriority({ priority: 7 });

        for (const end of ends.values()) end.resolve();
        await hasRun('a 3');

        expect((await bench.queue.getJob(third.id as string))?.priority).to.equal(7);
      });
    }

    it('keeps its priority', async () => {
      await add(1, 'a', { priority: 3 });
      const second = await add(2, 'a', { priority: 3 });
      for (const n of [10, 11, 12]) await add(n, `other-${n}`, { priority: 3 });
      await openWorker(2);
      await hasRun('other-10 10');
      await bench.reaches(second, 'delayed');

      ends.get(1)?.resolve();
      for (const n of [10, 11]) ends.get(n)?.resolve();
      await hasRun('a 2');

      const { priority } = (await bench.queue.getJob(second.id as string)) as Job;
      expect(priority).to.equal(3);
    });
  });
}
