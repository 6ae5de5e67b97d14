/** `whenLocked: 'in-order'`: duplicates are parked, and all run, one after another, in the order in which they were handed out. */

import type { Job } from 'bullmq';
import { expect } from 'chai';
import sinon from 'sinon';
import { onceProcessor } from '../../src/index.ts';
import { Bench, oneOfEachKind, setupNamed } from '../support/bullmq.ts';
import { deferred, until } from '../support/index.ts';
import { enterStep } from '../support/steps.ts';

const setups = [
  ...oneOfEachKind,
  ...['BullMQ 6 with a node-redis client', 'BullMQ 6 on a Redis Cluster'].map(setupNamed),
];
const IN_ORDER = { whenLocked: 'in-order' } as const;

for (const setup of setups) {
  describe(`Jobs in order (${setup.name})`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    async function addSome(count: number): Promise<Job[]> {
      const jobs: Job[] = [];
      for (let i = 0; i < count; i++) jobs.push(await bench.addInTurn({ n: i }));
      return jobs;
    }

    it('are parked while their key is held, and then run one after another', async () => {
      const first = await bench.hold(IN_ORDER);
      const others = await addSome(8);
      for (const job of others) await bench.reaches(job, 'delayed');

      // The holder's lease would end in 30 s: each is promoted, and does not wait for that.
      await first.finish();
      const results = await Promise.all(others.map(job => bench.result(job)));

      expect(first.ran).to.deep.equal([first.job, ...others].map(({ id }) => id));
      expect(results).to.deep.equal(others.map(() => 'worked'));
      expect(await bench.holder('k')).to.equal(undefined);
    });

    it('hold no slot while they are parked: a job of another key runs at once', async () => {
      const ran: unknown[] = [];
      const gate = deferred();
      await bench.worker(
        onceProcessor(
          async (job: Job<{ key: string }>) => {
            ran.push(job.data.key);
            if (ran.length === 1) await gate.promise;
          },
          { key: '{key}', ...IN_ORDER },
        ),
        { concurrency: 2 },
      );
      const held = [];
      for (let i = 0; i < 5; i++) held.push(await bench.add({ key: 'a' }));
      const other = await bench.add({ key: 'b' });

      await bench.result(other);

      expect(ran).to.deep.equal(['a', 'b']);
      gate.resolve();
      for (const job of held) await bench.result(job);
      expect(ran).to.deep.equal(['a', 'b', 'a', 'a', 'a', 'a']);
    });

    it('go on in another process at once when a worker closes behind the one that runs', async () => {
      const first = await bench.hold(IN_ORDER);
      const [second] = (await addSome(1)) as [Job];
      await bench.reaches(second, 'delayed');
      const closed = first.worker.close();

      await first.finish();
      await closed;

      // Nobody is there any more to promote it. The worker may have asked for another job before it was to close, and then has run it.
      expect(await second.getState()).to.be.oneOf(['waiting', 'completed']);
    });

    if (setup.onRedis) {
      it('go on though the worker begins to close while it reads the next of them', async () => {
        const first = await bench.hold(IN_ORDER);
        const [second] = (await addSome(1)) as [Job];
        await bench.reaches(second, 'delayed');
        const { Job } = first.worker as unknown as { Job: { fromId(...args: unknown[]): Promise<unknown> } };
        let closed: Promise<void> | undefined;
        const reading = sinon.stub(Job, 'fromId').callsFake(async (...args) => {
          closed ??= first.worker.close();
          await closed;
          return reading.wrappedMethod.apply(Job, args);
        });
        try {
          await first.finish();
          await until(() => closed !== undefined);
          await closed;
        } finally {
          reading.restore();
        }

        // The worker may have asked for another job before it was to close, and then has run it.
        expect(await second.getState()).to.be.oneOf(['waiting', 'completed']);
      });
    }

    it('go on behind one that was removed while it was parked', async () => {
      const first = await bench.hold(IN_ORDER);
      const [second, third, fourth] = (await addSome(3)) as [Job, Job, Job];
      for (const job of [second, third, fourth]) await bench.reaches(job, 'delayed');
      await second.remove();
      await third.remove();

      await first.finish();
      await bench.result(fourth);

      expect(first.ran).to.deep.equal([first.job.id, fourth.id]);
    });

    it('keep their positions when they are promoted by hand', async () => {
      const first = await bench.hold(IN_ORDER);
      const [second, third] = (await addSome(2)) as [Job, Job];
      for (const job of [second, third]) await bench.reaches(job, 'delayed');

      await third.promote();
      const startsOf = async (job: Job) => (await bench.queue.getJob(job.id as string))?.attemptsStarted;
      await until(async () => (await startsOf(third)) === 2 && (await third.getState()) === 'delayed');
      await first.finish();
      for (const job of [second, third]) await bench.result(job);

      expect(first.ran).to.deep.equal([first.job, second, third].map(({ id }) => id));
    });

    it('go on behind one that fails for good', async () => {
      const ran: unknown[] = [];
      const gate = deferred();
      await bench.worker(
        onceProcessor(
          async (job: Job) => {
            ran.push(job.id);
            if (ran.length > 1) return;
            await gate.promise;
            throw new Error('the first fails');
          },
          { key: 'k', ...IN_ORDER },
        ),
        { concurrency: 4 },
      );
      const jobs = await addSome(3);
      await bench.reaches(jobs[2] as Job, 'delayed');
      gate.resolve();

      expect(await bench.failure(jobs[0] as Job)).to.equal('the first fails');
      await bench.result(jobs[2] as Job);
      expect(ran).to.deep.equal(jobs.map(({ id }) => id));
    });

    it('wait for the retry of one that failed, with holdThroughRetries', async () => {
      const ran: unknown[] = [];
      const gate = deferred();
      await bench.worker(
        onceProcessor(
          async (job: Job) => {
            ran.push(job.id);
            await gate.promise;
            if (ran.length === 1) throw new Error('the first fails once');
          },
          { key: 'k', ...IN_ORDER, holdThroughRetries: true },
        ),
        { concurrency: 4 },
      );
      const first = await bench.addInTurn({}, { attempts: 2, backoff: 100 });
      const others = await addSome(2);
      for (const job of others) await bench.reaches(job, 'delayed');
      gate.resolve();
      for (const job of [first, ...others]) await bench.result(job);

      expect(ran).to.deep.equal([first, first, ...others].map(({ id }) => id));
    });

    it('fail where BullMQ would not start them again, and leave the line', async () => {
      const first = await bench.hold(IN_ORDER, { maxStartedAttempts: 1 });
      const second = await bench.add({});

      expect(await bench.failure(second)).to.include(`is held by job ${first.job.id}`);
      const [line] = (await bench.cache.lines?.([{ storedKey: bench.storedName('k'), owner: '' }])) ?? [];
      expect(line).to.include({ held: 1, parked: 0 });
    });
  });
}

describe('A line', () => {
  let bench: Bench;
  beforeEach(async () => {
    bench = await Bench.open();
  });
  afterEach(() => bench.close());

  it('goes on by itself when every promotion is lost', async () => {
    const ran: unknown[] = [];
    const gate = deferred();
    const guarded = onceProcessor(
      async (job: Job) => {
        ran.push(job.id);
        await gate.promise;
      },
      { key: 'k', whenLocked: 'in-order', ttl: 1000 },
    );
    class Deaf extends (await classOfJob(bench)) {
      override async promote(): Promise<void> {
        throw new Error('lost');
      }
    }
    await bench.worker((job, token) => guarded(Object.setPrototypeOf(job, Deaf.prototype) as never, token), {
      concurrency: 3,
    });
    const jobs = [await bench.add({}), await bench.add({}), await bench.add({})];
    for (const job of jobs.slice(1)) await bench.reaches(job, 'delayed');
    gate.resolve();

    for (const job of jobs) await bench.result(job);

    expect(ran).to.deep.equal(jobs.map(({ id }) => id));
  });

  it('goes on within a ttl after its holder has crashed, though whose turn it is would sleep for longer', async () => {
    const ttl = 2000;
    const storedKey = bench.storedName('k');
    const holder = enterStep({ storedKey, owner: 'crashed', line: 'all', ttl });
    await bench.cache.enter?.([holder]);
    await bench.worker(
      onceProcessor(() => 'worked', { key: 'k', whenLocked: 'in-order', ttl }),
      { concurrency: 10 },
    );
    const jobs: Job[] = [];
    for (let i = 0; i < 30; i++) jobs.push(await bench.add({}));
    for (const job of jobs) await bench.reaches(job, 'delayed');
    const last = jobs.pop() as Job;
    for (const job of jobs) await job.remove();

    // It comes back by itself √30 ttl after it was parked.
    const parkedAt = performance.now();
    await bench.result(last);

    expect(performance.now() - parkedAt).to.be.below(4 * ttl);
  });

  it('serves the jobs of two queues of one scope, each promoted by its own worker', async () => {
    const other = await Bench.open();
    try {
      const ran: unknown[] = [];
      const gate = deferred();
      const guarded = onceProcessor(
        async (job: Job) => {
          ran.push(job.data.n);
          await gate.promise;
        },
        { key: 'k', whenLocked: 'in-order', scope: bench.queueName },
      );
      await bench.worker(guarded as never, { concurrency: 3 });
      await other.worker(guarded as never, { concurrency: 3 });
      const jobs: [Bench, Job][] = [];
      for (let n = 0; n < 6; n++) {
        const at = n % 2 === 0 ? bench : other;
        const job = await at.add({ n });
        jobs.push([at, job]);
        await at.reaches(job, n === 0 ? 'active' : 'delayed');
      }
      const startedAt = performance.now();
      gate.resolve();

      for (const [at, job] of jobs) await at.result(job);

      expect(ran).to.deep.equal([0, 1, 2, 3, 4, 5]);
      // By themselves they would come back a second later, and the last √5 seconds later.
      expect(performance.now() - startedAt).to.be.below(2000);
    } finally {
      await other.close();
    }
  });
});

/** BullMQ's class `Job`, as the worker of a bench uses it. */
async function classOfJob(bench: Bench): Promise<typeof Job> {
  return (await bench.queue.add('probe', {}, { delay: 3_600_000 })).constructor as typeof Job;
}
