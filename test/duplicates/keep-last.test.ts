/** `whenLocked: 'keep-last'`: of the duplicates of a key only the newest is parked, and runs when the holder is done. */

import type { Job } from 'bullmq';
import { expect } from 'chai';
import { onceProcessor } from '../../src/index.ts';
import { Bench, oneOfEachKind } from '../support/bullmq.ts';
import { type Deferred, deferred, uniqueName, until } from '../support/index.ts';
import { answerReleasesLate, onceReleaseIsSent } from './late-answers.ts';

/** Starts a worker whose jobs complete at once. Returns their versions, in the order in which they run. */
async function workerOf(bench: Bench): Promise<unknown[]> {
  const ran: unknown[] = [];
  const options = { key: 'k', whenLocked: 'keep-last' } as const;
  await bench.worker(
    onceProcessor((job: Job<{ version: number }>) => ran.push(job.data.version), options),
    { concurrency: 3 },
  );
  return ran;
}

for (const setup of oneOfEachKind) {
  describe(`The newest of the jobs of one key (${setup.name})`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    it('is parked, and runs as soon as the holder is done; older ones are skipped', async () => {
      const first = await bench.hold({ whenLocked: 'keep-last' }, { concurrency: 3 });
      const duplicates: Job[] = [];
      for (let i = 0; i < 5; i++) duplicates.push(await bench.add({}));
      const newest = duplicates.pop() as Job;
      await until(async () => (await bench.queue.getCompletedCount()) === duplicates.length);
      await bench.reaches(newest, 'delayed');

      // The holder's lease would end in 30 s: the newest is promoted, and does not wait for that.
      await first.finish();
      await bench.reaches(newest, 'completed');

      expect(first.ran).to.deep.equal([first.job.id, newest.id]);
      expect(await bench.holder('k')).to.equal(undefined);
    });

    if (setup.onRedis) {
      it('is promoted before a worker that closes has closed, also where an older one was parked first', async () => {
        const gate = deferred();
        let runs = 0;
        const worker = await bench.worker(
          onceProcessor(
            async () => {
              if (++runs === 1) throw new Error('failed once');
              await gate.promise;
            },
            { key: 'k', whenLocked: 'keep-last', holdThroughRetries: true },
          ),
          { concurrency: 3 },
        );
        const holder = await bench.add({}, { attempts: 2, backoff: 500 });
        await bench.reaches(holder, 'delayed');
        const older = await bench.add({});
        await bench.reaches(older, 'delayed');
        await until(() => runs === 2);
        const newest = await bench.add({});
        await bench.reaches(newest, 'delayed');
        await bench.ended(older);
        const restore = answerReleasesLate();

        const closed = worker.close();
        gate.resolve();
        await closed;
        restore();

        expect(await newest.getState()).to.equal('waiting');
      });

      it('is promoted though the worker begins to close while the answer to the release is under way', async () => {
        const first = await bench.hold({ whenLocked: 'keep-last' }, { concurrency: 3 });
        const newest = await bench.add({});
        await bench.reaches(newest, 'delayed');
        let closed: Promise<void> | undefined;
        const restore = onceReleaseIsSent(() => {
          closed = first.worker.close();
        });

        await first.finish();
        await until(() => closed !== undefined);
        await closed;
        restore();

        // The worker may have taken it before it closed.
        expect(await newest.getState()).to.be.oneOf(['waiting', 'completed']);
      });
    }

    it('is known though its producer gives ids that only look like numbers of the queue', async () => {
      const jobs: Job[] = [];
      for (const [i, jobId] of ['00900', '00500', '00100'].entries()) {
        jobs.push(await bench.add({ version: i + 1 }, { jobId }));
      }
      const ran = await workerOf(bench);
      for (const job of jobs) await bench.reaches(job, 'completed');

      expect(ran.at(-1)).to.equal(3);
    });

    it('is not parked while the key is free', async () => {
      const ran: unknown[] = [];
      await bench.worker(
        onceProcessor((job: Job<{ version: number }>) => ran.push(job.data.version), {
          key: 'k',
          whenLocked: 'keep-last',
        }),
      );

      for (let version = 1; version <= 3; version++) await bench.result(await bench.add({ version }));

      expect(ran).to.deep.equal([1, 2, 3]);
    });

    for (const [ids, own] of Object.entries({
      'of the queue': undefined,
      'of their own': uniqueName('job'),
    })) {
      const idOf = (version: number) => (own === undefined ? {} : { jobId: `${own}-${version}` });

      it(`is not one whose producer has set its time of creation ahead: later ones run (ids ${ids})`, async () => {
        const ran = await workerOf(bench);
        await bench.result(await bench.add({ version: 0 }, { timestamp: 8e15, ...idOf(0) }));

        for (let version = 1; version <= 3; version++) {
          await bench.result(await bench.add({ version }, idOf(version)));
        }

        expect(ran).to.deep.equal([0, 1, 2, 3]);
      });

      it(`is one that its producer has dated back, where the key is free: it runs (ids ${ids})`, async () => {
        const ran = await workerOf(bench);
        await bench.result(await bench.add({ version: 1 }, idOf(1)));

        await bench.result(
          await bench.add({ version: 2 }, { timestamp: Date.now() - 3_600_000, ...idOf(2) }),
        );

        expect(ran).to.deep.equal([1, 2]);
      });
    }

    it('runs instead of the retry of an older one', async () => {
      const gate = deferred();
      const ran: unknown[] = [];
      await bench.worker(
        onceProcessor(
          async (job: Job<{ version: number }>) => {
            ran.push(job.data.version);
            if (ran.length > 1) return;
            await gate.promise;
            throw new Error('the first fails');
          },
          { key: 'k', whenLocked: 'keep-last' },
        ),
        { concurrency: 3 },
      );
      const first = await bench.add({ version: 1 }, { attempts: 2, backoff: 300 });
      await until(() => ran.length === 1);
      const newer = await bench.add({ version: 2 });
      await bench.reaches(newer, 'delayed');

      gate.resolve();
      await bench.reaches(first, 'completed');
      await bench.reaches(newer, 'completed');

      expect(ran).to.deep.equal([1, 2]);
    });
  });

  describe(`A job that is being parked (${setup.name})`, () => {
    let bench: Bench;
    let gate: Deferred;
    let ran: unknown[];
    /** Resolves when the second job is about to be moved to the delayed set. It is moved when `canMove` resolves. */
    let isMoving: Deferred;
    let canMove: Deferred;
    let first: Job;
    let second: Job;
    beforeEach(async () => {
      [gate, isMoving, canMove, ran] = [deferred(), deferred(), deferred(), []];
      bench = await Bench.open(setup);
      const guarded = onceProcessor(
        async (job: Job<{ version: number }>) => {
          ran.push(job.data.version);
          if (ran.length === 1) await gate.promise;
        },
        { key: 'k', whenLocked: 'keep-last' },
      );
      const processor = (job: Job<{ version: number }>, token?: string) => {
        if (job.data.version === 2 && job.attemptsStarted === 1) moveLate(job);
        return guarded(job as never, token);
      };
      await bench.worker(processor, { concurrency: 4 });
      first = await bench.add({ version: 1 });
      await until(() => ran.length === 1);
      second = await bench.add({ version: 2 });
      await isMoving.promise;
    });
    afterEach(() => {
      gate.resolve();
      canMove.resolve();
      return bench.close();
    });

    function moveLate(job: Job): void {
      const move = job.moveToDelayed.bind(job);
      job.moveToDelayed = async (...args) => {
        isMoving.resolve();
        await canMove.promise;
        return move(...args);
      };
    }

    // If it missed its promotion it would come back when the holder's lease would end, after 30 s.
    const comesBackAtOnce = () =>
      until(async () => (await second.getState()) === 'completed', 'the second job came back', 15_000);

    it('comes back at once to be skipped, though a newer one has come meanwhile', async () => {
      const third = await bench.add({ version: 3 });
      await bench.reaches(third, 'delayed');
      canMove.resolve();

      await comesBackAtOnce();

      gate.resolve();
      await until(() => ran.includes(3));
      expect(ran).to.deep.equal([1, 3]);
    });

    it('comes back at once to run, though the holder has released the key meanwhile', async () => {
      gate.resolve();
      await bench.reaches(first, 'completed');
      canMove.resolve();

      await comesBackAtOnce();

      expect(ran).to.deep.equal([1, 2]);
    });
  });
}
