/** A place of a key that nobody has released, and so nobody was told of: its line goes on all the same. */

import type { Job } from 'bullmq';
import { expect } from 'chai';
import { locksOf, onceProcessor } from '../../src/index.ts';
import { Bench, oneOfEachKind } from '../support/bullmq.ts';
import { deferred, until } from '../support/index.ts';

const PLACES = 3;

for (const setup of oneOfEachKind) {
  describe(`Places that were freed by force (${setup.name})`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    /** Starts jobs that hold all places, and parks others behind them. */
    async function fill(whenLocked: 'in-order' | 'keep-last', parked: number) {
      const ran: unknown[] = [];
      const gate = deferred();
      const options = { key: 'k', whenLocked, concurrency: PLACES, ttl: 60_000 } as const;
      const guarded = onceProcessor(async (job: Job) => {
        ran.push(job.id);
        await gate.promise;
      }, options);
      await bench.worker(guarded, { concurrency: 12 });
      const jobs: Job[] = [];
      for (let i = 0; i < PLACES; i++) jobs.push(await bench.add({}));
      await until(() => ran.length === PLACES);
      for (let i = 0; i < parked; i++) {
        const job = await bench.add({});
        await bench.reaches(job, 'delayed');
        jobs.push(job);
      }
      return { jobs, ran, gate };
    }

    it('are all taken by the first of the line', async () => {
      const { jobs, ran, gate } = await fill('in-order', 5);

      expect(await locksOf(bench.queue).forceRelease('k')).to.equal(true);
      await until(() => ran.length === 2 * PLACES, 'all places are taken');
      const ids = jobs.map(({ id }) => id);
      const taken = ran.slice();
      gate.resolve();
      for (const job of jobs) await bench.reaches(job, 'completed');

      expect(taken).to.have.members(ids.slice(0, 2 * PLACES));
      expect(ran).to.have.members(ids);
    });

    it("are no reason to leave the newest asleep ('keep-last')", async () => {
      const { jobs, ran, gate } = await fill('keep-last', 1);
      // The promotion of the operator is lost: two places are free when the third is released.
      const [first, second] = await Promise.all([0, 1].map(async i => placesOf(bench, jobs[i]?.id)));
      await locksOf(bench.queue).forceRelease(first as never);
      await locksOf(bench.queue).forceRelease(second as never);
      gate.resolve();
      for (const job of jobs) await bench.reaches(job, 'completed');

      expect(ran).to.have.members(jobs.map(({ id }) => id));
    });
  });
}

async function placesOf(bench: Bench, jobId: string | undefined) {
  for await (const lock of locksOf(bench.queue).list()) if (lock.jobId === jobId) return lock;
  return undefined;
}
