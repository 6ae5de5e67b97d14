/** Duplicates among what else BullMQ does: schedules, pauses, priorities, rate limits and flows. */

import { FlowProducer, type Job } from 'bullmq';
import { expect } from 'chai';
import { onceProcessor } from '../../src/index.ts';
import { Bench, oneOfEachKind, setupNamed } from '../support/bullmq.ts';
import { deferred, redisOptions, until } from '../support/index.ts';

for (const setup of oneOfEachKind) {
  describe(`A duplicate (${setup.name})`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    it('is skipped while the last job of its schedule runs, and the schedule goes on', async () => {
      const gate = deferred();
      const ran: unknown[] = [];
      const results: unknown[] = [];
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
      worker.on('completed', (_job, result) => results.push(result));

      await bench.queue.upsertJobScheduler('overlapping', { every: 100 }, { name: 'tick' });
      await until(() => results.length >= 2);
      expect(ran).to.have.length(1);
      gate.resolve();
      await until(() => ran.length >= 3);
      await bench.queue.removeJobScheduler('overlapping');

      expect(results.slice(0, 2)).to.deep.equal([undefined, undefined]);
    });

    it('that waits runs although its queue is paused and its worker closes, and leaves no lock', async () => {
      const first = await bench.hold({ whenLocked: { waitFor: 30_000 } }, { concurrency: 2 });
      const second = await bench.add({});
      await bench.reaches(second, 'active');

      await bench.queue.pause();
      const closed = first.worker.close();
      await first.finish();
      await closed;

      expect(first.ran).to.deep.equal([first.job.id, second.id]);
      expect(await first.job.getState()).to.equal('completed');
      expect(await second.getState()).to.equal('completed');
      expect(await bench.storedNames()).to.deep.equal([]);
      await bench.queue.resume();
    });

    it('keeps its priority when it is delayed', async () => {
      const first = await bench.hold({ whenLocked: { delay: 60_000 } }, { jobOptions: { priority: 9 } });
      const duplicate = await bench.add({}, { priority: 7 });
      await bench.reaches(duplicate, 'delayed');
      await first.finish();
      await first.worker.close();

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

describe('A duplicate that is a child of a flow', () => {
  let bench: Bench;
  let flow: FlowProducer;
  beforeEach(async () => {
    bench = await Bench.open(setupNamed('BullMQ 6 with ioredis options'));
    flow = new FlowProducer({ connection: redisOptions() });
  });
  afterEach(async () => {
    await flow.close();
    await bench.close();
  });

  /** A job that holds the key, and a flow whose one child is a duplicate. */
  async function flowOf(options: { raiseIfLock?: boolean; whenLocked?: 'share' }) {
    const started = deferred();
    const gate = deferred();
    const guarded = onceProcessor(
      async () => {
        started.resolve();
        await gate.promise;
        return 'worked';
      },
      { key: 'k', ...options },
    );
    const parents: unknown[] = [];
    const processor = async (job: Job, token?: string) => {
      if (job.name !== 'parent') return guarded(job as never, token);
      parents.push(Object.values(await job.getChildrenValues()));
      return 'parent ran';
    };
    await bench.worker(processor, { concurrency: 5 });
    const first = await bench.add({});
    await started.promise;
    const { queueName } = bench;
    const children = [{ name: 'child', queueName, data: {} }];
    const added = await flow.add({ name: 'parent', queueName, children });
    const finish = async () => {
      gate.resolve();
      await bench.result(first);
    };
    return { parent: added.job as Job, child: added.children?.[0]?.job as Job, parents, finish };
  }

  it('gives its parent null if it is skipped', async () => {
    const { parent, parents, finish } = await flowOf({});

    expect(await bench.result(parent)).to.equal('parent ran');
    await finish();

    expect(parents).to.deep.equal([[null]]);
  });

  it('gives its parent the result that it shares', async () => {
    const { parent, child, parents, finish } = await flowOf({ whenLocked: 'share' });
    await bench.reaches(child, 'delayed');

    await finish();

    expect(await bench.result(parent)).to.equal('parent ran');
    expect(parents).to.deep.equal([['worked']]);
  });

  it('leaves its parent waiting if it raises', async () => {
    const { parent, child, parents, finish } = await flowOf({ raiseIfLock: true });

    await bench.reaches(child, 'failed');

    expect(await parent.getState()).to.equal('waiting-children');
    expect(parents).to.deep.equal([]);
    await finish();
  });
});
