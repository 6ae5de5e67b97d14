/** `whenLocked: 'share'`: duplicates are parked while the work runs, and complete with its result. */

import type { Job, Worker } from 'bullmq';
import { expect } from 'chai';
import sinon from 'sinon';
import { cacheOnConnection } from '../../src/bullmq/queue-cache.ts';
import { type LockCache, onceProcessor } from '../../src/index.ts';
import { Bench, oneOfEachKind, setupNamed } from '../support/bullmq.ts';
import { deferred, until } from '../support/index.ts';
import { answerReleasesLate } from './late-answers.ts';

const setups = [
  ...oneOfEachKind,
  ...[
    'BullMQ 6 with a node-redis client',
    'BullMQ 6 with a Valkey GLIDE client',
    'BullMQ 6 on a Redis Cluster',
    'BullMQ 5 with a node-redis client',
  ].map(setupNamed),
];

for (const setup of setups) {
  describe(`Jobs that share a result (${setup.name})`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    /** Starts a worker whose nth run ends as it is told. */
    async function work(options: object = {}, workerOptions: object = {}) {
      const ran: unknown[] = [];
      const gates = Array.from({ length: 5 }, () => deferred<unknown>());
      const processor = onceProcessor(
        async (job: Job) => {
          ran.push(job.id);
          const end = await gates[ran.length - 1]?.promise;
          if (end instanceof Error) throw end;
          return end;
        },
        { key: 'k', whenLocked: 'share', ...options },
      );
      const worker = await bench.worker(processor, { concurrency: 5, ...workerOptions });
      return { ran, gates, worker };
    }

    async function park(count: number, options: object = {}): Promise<Job[]> {
      const jobs: Job[] = [];
      for (let n = 0; n < count; n++) jobs.push(await bench.add({ n }, options));
      for (const job of jobs) await bench.reaches(job, 'delayed');
      return jobs;
    }

    it('run once: those that were parked complete with the result of the first', async () => {
      const { ran, gates } = await work();
      const first = await bench.add({});
      await until(() => ran.length === 1);
      const others = await park(8);

      gates[0]?.resolve({ total: 12.5, lines: ['ä', null] });
      const results = await Promise.all([first, ...others].map(job => bench.result(job)));

      expect(results).to.deep.equal(results.map(() => ({ total: 12.5, lines: ['ä', null] })));
      expect(ran).to.deep.equal([first.id]);
      expect(await bench.holder('k')).to.equal(undefined);
    });

    it('run again after that: a newcomer does its own work where there is no window', async () => {
      const { ran, gates } = await work();
      const first = await bench.add({});
      gates[0]?.resolve('first');
      await bench.result(first);

      const second = await bench.add({});
      gates[1]?.resolve('second');

      expect(await bench.result(second)).to.equal('second');
      expect(ran).to.deep.equal([first.id, second.id]);
    });

    it('complete with the result that is kept, within a window', async () => {
      const { ran, gates } = await work({ dedupeFor: 60_000 });
      const first = await bench.add({});
      await until(() => ran.length === 1);
      const [parked] = (await park(1)) as [Job];
      gates[0]?.resolve([1, 2, 3]);
      await bench.result(first);

      const late = await bench.add({});

      expect(await bench.result(parked)).to.deep.equal([1, 2, 3]);
      expect(await bench.result(late)).to.deep.equal([1, 2, 3]);
      expect(ran).to.deep.equal([first.id]);
      expect(await bench.holder('k')).to.deep.include({ state: 'done', resultBytes: 7 });
    });

    it('are run by the first of them if the work fails for good, and the others wait for that', async () => {
      const { ran, gates } = await work();
      const first = await bench.add({});
      await until(() => ran.length === 1);
      const others = await park(3);

      gates[0]?.resolve(new Error('the first fails'));
      expect(await bench.failure(first)).to.equal('the first fails');
      await until(() => ran.length === 2);
      // One that comes to see whether it is its turn goes back.
      for (const job of others.slice(1)) await bench.reaches(job, 'delayed');
      gates[1]?.resolve('second');

      const results = await Promise.all(others.map(job => bench.result(job)));
      expect(results).to.deep.equal(['second', 'second', 'second']);
      expect(ran).to.deep.equal([first.id, others[0]?.id]);
    });

    it('stay parked while the one that failed is retried, with holdThroughRetries', async () => {
      const { ran, gates } = await work({ holdThroughRetries: true });
      const first = await bench.add({}, { attempts: 2, backoff: 100 });
      await until(() => ran.length === 1);
      const others = await park(2);

      gates[0]?.resolve(new Error('the first fails once'));
      gates[1]?.resolve('second run');

      const results = await Promise.all([first, ...others].map(job => bench.result(job)));
      expect(results).to.deep.equal(['second run', 'second run', 'second run']);
      expect(ran).to.deep.equal([first.id, first.id]);
    });

    it('share it though the job that did the work is removed when it completes', async () => {
      const { ran, gates } = await work();
      await bench.add({}, { removeOnComplete: true });
      await until(() => ran.length === 1);
      const others = await park(3);

      gates[0]?.resolve('kept');

      const results = await Promise.all(others.map(job => bench.result(job)));
      expect(results).to.deep.equal(['kept', 'kept', 'kept']);
    });

    it('read a result that is too large to keep from the job that did the work', async () => {
      const large = 'x'.repeat(20_000);
      const { ran, gates } = await work({ dedupeFor: 60_000 });
      const first = await bench.add({});
      await until(() => ran.length === 1);
      const [parked] = (await park(1)) as [Job];
      gates[0]?.resolve(large);

      expect(await bench.result(parked)).to.equal(large);
      const late = await bench.add({});
      expect(await bench.result(late)).to.equal(large);
      expect(await bench.holder('k')).to.not.have.property('resultBytes');

      await first.remove();
      const latest = await bench.add({});
      expect(await bench.result(latest)).to.be.oneOf([undefined, null]);
    });

    it('are promoted before a worker that closes has closed', async () => {
      const { ran, gates, worker } = await work();
      await bench.add({});
      await until(() => ran.length === 1);
      const others = await park(3);
      const closed = worker.close();
      gates[0]?.resolve('kept');
      await closed;

      for (const job of others) expect(await job.getState()).to.be.oneOf(['waiting', 'completed']);
      await work();
      const results = await Promise.all(others.map(job => bench.result(job)));
      expect(results).to.deep.equal(['kept', 'kept', 'kept']);
    });

    if (setup.onRedis) {
      it('are promoted before a worker that closes has closed, also where its job fails', async () => {
        const { ran, gates, worker } = await work();
        await bench.add({});
        await until(() => ran.length === 1);
        const [next] = await park(2);
        const restore = answerReleasesLate();
        const closed = worker.close();
        gates[0]?.resolve(new Error('failed'));
        // The worker may take one that was promoted before it has closed.
        gates[1]?.resolve('by another');
        await closed;
        restore();

        expect(await next?.getState()).to.be.oneOf(['waiting', 'completed']);
      });
    }

    it('share it though the process that did the work dies before it has promoted them', async () => {
      const { ran, gates, worker } = await work({ ttl: 1000 });
      const recovers = losePromotions(worker);
      const first = await bench.add({});
      await until(() => ran.length === 1);
      const others = await park(8);
      gates[0]?.resolve('kept');
      await bench.result(first);
      recovers();

      const results = await Promise.all(others.map(job => bench.result(job)));

      expect(results).to.deep.equal(results.map(() => 'kept'));
      expect(ran).to.deep.equal([first.id]);
    });

    it('share it again when they run again because BullMQ did not learn of it', async () => {
      const gate = deferred();
      const ran: unknown[] = [];
      const guarded = onceProcessor(
        async (job: Job) => {
          ran.push(job.id);
          await gate.promise;
          return 'kept';
        },
        { key: 'k', whenLocked: 'share' },
      );
      const lost = new Set<unknown>();
      await bench.worker(
        async (job, token) => {
          const result = await guarded(job, token);
          if (ran.includes(job.id) || lost.has(job.id)) return result;
          lost.add(job.id);
          throw new Error('lost');
        },
        { concurrency: 5 },
      );
      const first = await bench.add({});
      await until(() => ran.length === 1);
      const others = await park(3, { attempts: 2 });
      gate.resolve();

      const results = await Promise.all([first, ...others].map(job => bench.result(job)));

      expect(results).to.deep.equal(['kept', 'kept', 'kept', 'kept']);
      expect(ran).to.deep.equal([first.id]);
      expect(lost.size).to.equal(3);
    });

    it('do the work themselves where BullMQ fails the job that did it, because of its result', async () => {
      const { ran, gates } = await work();
      const first = await bench.add({});
      await until(() => ran.length === 1);
      const others = await park(2);
      const itself: unknown[] = [];
      itself.push(itself);

      gates[0]?.resolve(itself);
      gates[1]?.resolve('second');

      expect(await bench.failure(first)).to.contain('circular');
      const results = await Promise.all(others.map(job => bench.result(job)));
      expect(results).to.deep.equal(['second', 'second']);
      expect(ran).to.deep.equal([first.id, others[0]?.id]);
    });

    it('get what the queue can keep, and do the work themselves where its datastore refuses the result', async () => {
      // Of a slash and the letters of an escape both take all.
      for (const result of ['\\u0000 \\ud800', 'a\0b', 'half of a pair: \ud800']) {
        const isRefused = setup.name.includes('PostgreSQL') && !result.startsWith('\\');
        const { ran, gates, worker } = await work();
        const first = await bench.add({});
        await until(() => ran.length === 1);
        const [second] = (await park(1)) as [Job];

        gates[0]?.resolve(result);
        gates[1]?.resolve('by another');
        const shared = await bench.result(second);

        if (isRefused) expect(shared).to.equal('by another');
        else expect(shared).to.equal(result);
        expect(ran).to.deep.equal(isRefused ? [first.id, second.id] : [first.id]);
        await worker.close();
      }
    });

    it('keep the backoff of one that does the work itself and fails', async () => {
      const { ran, gates, worker } = await work({ ttl: 4000 });
      const look = sinon.spy((await cacheOnConnection(worker)) as Required<LockCache>, 'lines');
      const first = await bench.add({});
      await until(() => ran.length === 1);
      const [second] = await park(1, { attempts: 2, backoff: 3_600_000 });
      gates[0]?.resolve(new Error('the first fails'));
      await bench.failure(first);
      await until(() => ran.length === 2);
      look.resetHistory();

      gates[1]?.resolve(new Error('the second fails'));
      await bench.reaches(second as Job, 'delayed');
      // Who parked it looks at the line within half a ttl, and finds it empty.
      await until(() => look.called);
      gates[2]?.resolve('third');
      const third = await bench.add({});
      await bench.result(third);

      expect(ran).to.deep.equal([first.id, second?.id, third.id]);
      expect(await second?.getState()).to.equal('delayed');
    });

    it('keep their priorities, and are done in a queue that was paused meanwhile', async () => {
      const { ran, gates } = await work();
      const first = await bench.add({}, { priority: 3 });
      await until(() => ran.length === 1);
      const others = await park(3, { priority: 2 });
      await bench.queue.pause();
      gates[0]?.resolve('kept');
      await bench.result(first);
      for (const job of others) await until(async () => (await job.getState()) !== 'delayed');
      await bench.queue.resume();

      const results = await Promise.all(others.map(job => bench.result(job)));
      expect(results).to.deep.equal(['kept', 'kept', 'kept']);
      expect(ran).to.deep.equal([first.id]);
    });

    it('may be jobs of a schedule', async () => {
      const { ran, gates, worker } = await work();
      const results: unknown[] = [];
      worker.on('completed', (_job, result) => results.push(result));
      await bench.queue.upsertJobScheduler('often', { every: 100 }, { name: 'tick' });
      await until(async () => (await bench.queue.getDelayedCount()) >= 3);

      gates[0]?.resolve('first');
      await until(() => results.length >= 3);
      await bench.queue.removeJobScheduler('often');
      for (const gate of gates) gate.resolve('later');

      expect(results.slice(0, 3)).to.deep.equal(['first', 'first', 'first']);
      expect(ran.length).to.be.at.least(1);
    });
  });
}

/**
 * From now on a worker promotes no job.
 * @returns a function that ends this.
 */
function losePromotions(worker: Worker): () => void {
  type JobClass = new (...args: any[]) => { promote(): Promise<void> };
  const Base = (worker as never as { Job: JobClass }).Job;
  let areLost = true;
  class Unpromoted extends Base {
    override async promote(): Promise<void> {
      if (!areLost) await super.promote();
    }
  }
  Object.defineProperty(worker, 'Job', { value: Unpromoted });
  return () => {
    areLost = false;
  };
}

describe('Jobs of two queues of one scope that share a result', () => {
  for (const [size, result] of [
    ['small', 'kept'],
    ['too large to keep', 'x'.repeat(20_000)],
  ] as const) {
    it(`are promoted each by its own worker (a result that is ${size})`, async () => {
      const bench = await Bench.open();
      const other = await Bench.open();
      const ran: unknown[] = [];
      const gate = deferred();
      const guarded = onceProcessor(
        async (job: Job) => {
          ran.push(job.data.n);
          await gate.promise;
          return result;
        },
        { key: 'k', whenLocked: 'share', scope: bench.queueName },
      );
      for (const at of [bench, other]) await at.worker(guarded as never, { concurrency: 3 });
      const jobs: [Bench, Job][] = [];
      for (let n = 0; n < 6; n++) {
        const at = n % 2 === 0 ? bench : other;
        const job = await at.add({ n });
        jobs.push([at, job]);
        await at.reaches(job, n === 0 ? 'active' : 'delayed');
      }
      const startedAt = performance.now();
      gate.resolve();

      for (const [at, job] of jobs) expect(await at.result(job)).to.equal(result);

      expect(ran).to.deep.equal([0]);
      // By themselves they would come back a second later, and the last √5 seconds later.
      expect(performance.now() - startedAt).to.be.below(2000);
      await bench.close();
      await other.close();
    });
  }
});
