/** `whenLocked: { delay }`: a duplicate is moved to BullMQ's delayed set and tried again. */

import type { Job } from 'bullmq';
import { expect } from 'chai';
import { type Holder, MemoryCache, onceProcessor } from '../../src/index.ts';
import { Bench, oneOfEachKind, plainJob } from '../support/bullmq.ts';
import { deferred, rejection, until } from '../support/index.ts';

for (const setup of oneOfEachKind) {
  describe(`A duplicate that is delayed (${setup.name})`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    it('runs later, at no cost of an attempt', async () => {
      const gate = deferred();
      const ran: unknown[] = [];
      const worker = await bench.worker(
        onceProcessor(
          async (job: Job) => {
            ran.push(job.id);
            if (ran.length === 1) await gate.promise;
            return { attemptsMade: job.attemptsMade, attemptsStarted: job.attemptsStarted };
          },
          { key: 'k', whenLocked: { delay: 50 } },
        ),
        { concurrency: 2 },
      );
      const failures: Error[] = [];
      worker.on('failed', (_job, error) => failures.push(error));
      const first = await bench.add({});
      await until(() => ran.length === 1);

      const duplicate = await bench.add({});
      await bench.reaches(duplicate, 'delayed');
      gate.resolve();
      await bench.result(first);

      const { attemptsMade, attemptsStarted } = (await bench.result(duplicate)) as Record<string, number>;
      expect(ran).to.deep.equal([first.id, duplicate.id]);
      expect(attemptsMade).to.equal(0);
      expect(attemptsStarted).to.be.greaterThan(1);
      expect(failures).to.deep.equal([]);
    });

    it('fails with a LockError after its limit', async () => {
      let starts = 0;
      const key = () => {
        starts++;
        return 'k';
      };
      const first = await bench.hold({ key, whenLocked: { delay: 10, limit: 2 } });

      const failure = await bench.failure(await bench.add({}));
      await first.finish();

      expect(failure).to.match(/^lock 'k' is held by/);
      expect(starts).to.equal(1 + 3);
    });

    it("comes back when the holder's lease would end ({ delay: 'holder' })", async () => {
      const first = await bench.hold({ whenLocked: { delay: 'holder' } });

      const duplicate = await bench.add({});
      await bench.reaches(duplicate, 'delayed');
      const delay = (await bench.queue.getJob(duplicate.id as string))?.delay;
      await first.finish();

      expect(delay).to.be.within(25_000, 30_000 * 1.25 + 100);
    });

    it('comes back when a function of the job and the holder says', async () => {
      const calls: [unknown, Holder][] = [];
      const first = await bench.hold({
        whenLocked: {
          delay: (job: Job, holder) => {
            calls.push([job.id, holder]);
            return 5_000;
          },
        },
      });

      const duplicate = await bench.add({});
      await bench.reaches(duplicate, 'delayed');
      const delay = (await bench.queue.getJob(duplicate.id as string))?.delay;
      await first.finish();

      expect(delay).to.be.within(4_900, 5_000 * 1.25 + 100);
      expect(calls).to.have.length(1);
      expect(calls[0]?.[0]).to.equal(duplicate.id);
      expect(calls[0]?.[1]).to.include({ state: 'running', jobId: first.job.id });
    });

    it('fails with a LockError before BullMQ would fail it for its maxStartedAttempts', async () => {
      const first = await bench.hold({ whenLocked: { delay: 10 } }, { maxStartedAttempts: 3 });

      const failure = await bench.failure(await bench.add({}));
      await first.finish();

      expect(failure).to.match(/^lock 'k' is held by/);
    });

    it('runs once, and alone, as one of twenty with one key', async () => {
      let running = 0;
      const ran: unknown[] = [];
      const overlaps: unknown[] = [];
      await bench.worker(
        onceProcessor(
          async (job: Job) => {
            if (++running > 1) overlaps.push(job.id);
            await new Promise(resolve => setTimeout(resolve, 5));
            ran.push(job.id);
            running--;
          },
          { key: 'k', whenLocked: { delay: 20 } },
        ),
        { concurrency: 10 },
      );

      const jobs = await Promise.all(Array.from({ length: 20 }, () => bench.add({})));
      await until(async () => (await bench.queue.getCompletedCount()) === 20);

      expect(overlaps).to.deep.equal([]);
      expect(ran).to.have.members(jobs.map(({ id }) => id));
      expect(await bench.holder('k')).to.equal(undefined);
    });
  });
}

describe('The function of whenLocked.delay', () => {
  it('fails the duplicate if it returns no number of milliseconds', async () => {
    const gate = deferred();
    const guarded = onceProcessor(() => gate.promise, {
      key: 'k',
      cache: new MemoryCache(),
      whenLocked: { delay: () => Number.NaN },
    });
    const first = guarded(plainJob('1'));

    const error = await rejection(guarded(plainJob('2')));
    gate.resolve();
    await first;

    expect(error).to.be.instanceOf(TypeError);
    expect(error.message).to.equal(
      "onceProcessor: the function of option 'whenLocked.delay' must return a number of milliseconds, not NaN",
    );
  });
});
