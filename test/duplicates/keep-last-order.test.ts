/** `whenLocked: 'keep-last'`: which job is the newest, however the jobs came, and what an older one does that is at work. */

import type { Job } from 'bullmq';
import * as bullmq6 from 'bullmq';
import * as bullmq5 from 'bullmq5';
import { expect } from 'chai';
import { locksOf, onceProcessor } from '../../src/index.ts';
import { Bench, oneOfEachKind } from '../support/bullmq.ts';
import { deferred, nextTurn, until } from '../support/index.ts';

const PAIRS = 50;

for (const setup of oneOfEachKind) {
  const isBullmq5 = setup.name.includes('BullMQ 5');
  const { DelayedError, WaitingChildrenError } = isBullmq5 ? (bullmq5 as never as typeof bullmq6) : bullmq6;

  describe(`The newest job of a key under 'keep-last' (${setup.name})`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    /** An older job runs, and the newest is parked. The older one fails when it is told, and is retried; all later runs succeed. */
    async function olderThatFails({
      backoff,
      ...options
    }: {
      readonly backoff: number;
      readonly ttl?: number;
    }) {
      const gate = deferred();
      const ran: unknown[] = [];
      const guarded = onceProcessor(
        async (job: Job) => {
          ran.push(job.id);
          if (ran.length > 1) return;
          await gate.promise;
          throw new Error('the first run fails');
        },
        { key: 'k', whenLocked: 'keep-last', ...options },
      );
      await bench.worker(guarded, { concurrency: 3 });
      const older = await bench.add({}, { attempts: 2, backoff });
      await until(() => ran.length === 1);
      const newest = await bench.add({});
      await bench.reaches(newest, 'delayed');
      return { ran, older, newest, fail: gate.resolve };
    }

    it('is the one that was added later, of two that were created in one millisecond with ids of their own', async () => {
      const ran = new Map<number, string[]>();
      const guarded = onceProcessor(
        async ({ data: { pair, which } }: Job<{ pair: number; which: string }>) => {
          ran.set(pair, [...(ran.get(pair) ?? []), which]);
          await nextTurn();
        },
        { key: 'k-{pair}', whenLocked: 'keep-last' },
      );
      // On PostgreSQL BullMQ fetches jobs side by side: two of the same few ms may swap (docs/order.md).
      await bench.worker(guarded, { concurrency: setup.name.includes('PostgreSQL') ? 1 : 8 });
      const timestamp = Date.now();
      const jobs = Array.from({ length: PAIRS }, (_, pair) =>
        // The ids of half of the pairs are in the other order.
        ['first', 'second'].map((which, i) => {
          const jobId = `own-${pair % 2 === 0 ? i : 1 - i}-${pair}`;
          return { name: 'job', data: { pair, which }, opts: { jobId, timestamp } };
        }),
      );

      await bench.queue.addBulk(jobs.flat());
      await until(async () => (await bench.queue.getCompletedCount()) === 2 * PAIRS);

      const last = Array.from({ length: PAIRS }, (_, pair) => ran.get(pair)?.at(-1));
      expect(last).to.deep.equal(Array(PAIRS).fill('second'));
    });

    it('is the last of those that were added in bulk', async () => {
      const first = await bench.hold({ whenLocked: 'keep-last' });
      const bulk = await bench.queue.addBulk(Array(10).fill({ name: 'job', data: {} }));
      const newest = bulk.at(-1) as Job;
      await until(async () => (await bench.queue.getCompletedCount()) === bulk.length - 1);

      await first.finish();
      await bench.reaches(newest, 'completed');

      expect(first.ran).to.deep.equal([first.job.id, newest.id]);
    });

    it('is the last that was added, though it is handed out first (LIFO)', async () => {
      const first = await bench.hold({ whenLocked: 'keep-last' }, { concurrency: 1 });
      const added: Job[] = [];
      for (let i = 0; i < 4; i++) added.push(await bench.add({}, { lifo: true }));

      await first.finish();
      for (const job of added) await bench.reaches(job, 'completed');

      expect(first.ran).to.deep.equal([first.job.id, added.at(-1)?.id]);
    });

    it('is the last of those that two workers fetch', async () => {
      const gate = deferred();
      const ran: unknown[] = [];
      const guarded = onceProcessor(
        async (job: Job) => {
          ran.push(job.id);
          if (ran.length === 1) await gate.promise;
        },
        { key: 'k', whenLocked: 'keep-last' },
      );
      await bench.worker(guarded, { concurrency: 3 });
      await bench.worker(guarded, { concurrency: 3 });
      const first = await bench.add({});
      await until(() => ran.length === 1);
      const others: Job[] = [];
      for (let i = 0; i < 20; i++) others.push(await bench.add({}));
      const newest = others.pop() as Job;
      for (const job of others) await bench.reaches(job, 'completed');

      gate.resolve();
      await bench.reaches(newest, 'completed');

      expect(ran).to.deep.equal([first.id, newest.id]);
    });

    it('is the one that was created later, in whichever of two queues of one scope', async () => {
      const other = await Bench.open(setup);
      try {
        const options = { whenLocked: 'keep-last', scope: bench.queueName, cache: bench.cache } as const;
        const first = await bench.hold(options);
        const ran: unknown[] = [];
        await other.worker(onceProcessor((job: Job) => ran.push(job.id), { key: 'k', ...options }));
        const older = await bench.add({}, { timestamp: Date.now() - 1 });
        await bench.reaches(older, 'delayed');
        const newer = await other.add({});
        await other.reaches(newer, 'delayed');
        await bench.reaches(older, 'completed');

        await first.finish();
        await other.reaches(newer, 'completed');

        expect(first.ran).to.deep.equal([first.job.id]);
        expect(ran).to.deep.equal([newer.id]);
      } finally {
        await other.close();
      }
    });

    for (const [how, remove] of Object.entries({
      'is removed': (job: Job) => job.remove(),
      'is drained with its queue': () => bench.queue.drain(true),
    })) {
      it(`outdoes nobody once it ${how}: an older one that fails is retried`, async () => {
        const { ran, older, newest, fail } = await olderThatFails({ backoff: 50 });

        await remove(newest);
        fail();
        await bench.reaches(older, 'completed');

        expect(ran).to.deep.equal([older.id, older.id]);
      });
    }

    it('outdoes nobody once it is removed: an older one that comes later is parked', async () => {
      const first = await bench.hold({ whenLocked: 'keep-last' });
      const older = await bench.add({}, { delay: 60_000 });
      const newest = await bench.add({});
      await until(async () => (await bench.queue.getDelayedCount()) === 2);

      await newest.remove();
      await older.promote();
      await until(async () => (await bench.queue.getJob(older.id as string))?.attemptsStarted === 1);
      await bench.reaches(older, 'delayed', 'completed');
      await first.finish();
      await bench.reaches(older, 'completed');

      expect(first.ran).to.deep.equal([first.job.id, older.id]);
    });

    it('is forgotten by a forced release while it runs: an older one is retried', async () => {
      const gates = [deferred(), deferred()];
      const ran: unknown[] = [];
      const guarded = onceProcessor(
        async (job: Job) => {
          const nth = ran.push(job.id);
          await gates[nth - 1]?.promise;
          if (nth === 1) throw new Error('the first run fails');
        },
        { key: 'k', whenLocked: 'keep-last' },
      );
      await bench.worker(guarded, { concurrency: 3 });
      const older = await bench.add({}, { attempts: 2, backoff: 60_000 });
      await until(() => ran.length === 1);
      const newer = await bench.add({});
      await bench.reaches(newer, 'delayed');
      gates[0]?.resolve();
      await until(() => ran.length === 2);

      expect(await locksOf(bench.queue).forceRelease('k')).to.equal(true);
      gates[1]?.resolve();
      await bench.reaches(newer, 'completed');
      await bench.reaches(older, 'delayed');
      await older.promote();
      await bench.reaches(older, 'completed');

      expect(ran).to.deep.equal([older.id, newer.id, older.id]);
    });

    it('is remembered until an older one is retried, also where that is many ttls later', async () => {
      const { ran, older, newest, fail } = await olderThatFails({ backoff: 2000, ttl: 200 });

      fail();
      await bench.reaches(newest, 'completed');
      await bench.reaches(older, 'completed');

      expect(ran).to.deep.equal([older.id, newest.id]);
    });

    for (const [what, leave] of Object.entries({
      'has moved itself to delayed': async (job: Job, token: string) => {
        await job.moveToDelayed(Date.now() + 50, token);
        throw new DelayedError();
      },
      'waits for its child': async (job: Job, token: string, onceMoved: () => void) => {
        const parent = { id: job.id as string, queue: job.queueQualifiedName };
        await bench.queue.add('child', {}, { parent });
        await job.moveToWaitingChildren(token);
        // A child that ends before its parent moves leaves it nothing to wait for.
        onceMoved();
        throw new WaitingChildrenError();
      },
      'is to be retried': async () => {
        throw new Error('once more');
      },
    })) {
      it(`runs after an older one that ${what} under holdThroughRetries, which goes on`, async () => {
        const hasMoved = deferred();
        const gate = deferred();
        const ran: unknown[] = [];
        const guarded = onceProcessor(
          async (job: Job, token) => {
            ran.push(job.id);
            if (ran.length > 1) return;
            await gate.promise;
            await leave(job, token as string, hasMoved.resolve);
          },
          { key: 'k', whenLocked: 'keep-last', holdThroughRetries: true },
        );
        const processor = async (job: Job, token?: string) =>
          job.name === 'child' ? hasMoved.promise : guarded(job, token);
        await bench.worker(processor, { concurrency: 3 });
        const older = await bench.add({}, { attempts: 2, backoff: 50 });
        await until(() => ran.length === 1);
        const newest = await bench.add({});
        await bench.reaches(newest, 'delayed');

        gate.resolve();
        await bench.reaches(newest, 'completed');

        expect(ran).to.deep.equal([older.id, older.id, newest.id]);
      });
    }
  });
}
