/** The jobs of one process that wait for a key stand in one wait queue, whichever workers and queues they come by. */

import { setTimeout as delay } from 'node:timers/promises';
import { type Job, Queue, Worker } from 'bullmq';
import * as bullmq5 from 'bullmq5';
import { expect } from 'chai';
import { Lock, MemoryCache, onceProcessor } from '../../src/index.ts';
import { Bench, setupNamed, setups } from '../support/bullmq.ts';
import { redisOptions, uniqueName, until } from '../support/index.ts';

const closes: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closes.splice(0).reverse()) await close();
});

/** A guarded processor that records in which order jobs came to it, and in which order they ran. */
function recorded(options: object) {
  const came: unknown[] = [];
  const ran: unknown[] = [];
  let running = 0;
  let most = 0;
  const guarded = onceProcessor(
    async (job: Job) => {
      most = Math.max(most, ++running);
      ran.push(`${job.queueName} ${job.id}`);
      await delay(job.data.ms ?? 2);
      running--;
    },
    { key: 'k', whenLocked: { waitFor: 30_000 }, raiseIfLock: true, ...options },
  );
  const processor = (job: Job, token?: string, signal?: AbortSignal) => {
    came.push(`${job.queueName} ${job.id}`);
    return guarded(job as never, token, signal);
  };
  return { processor, came, ran, most: () => most };
}

describe('The jobs of a worker that has just started', () => {
  for (const setup of setups) {
    it(`run in the order in which they came, from the first on (${setup.name})`, async () => {
      const bench = await Bench.open(setup);
      closes.push(() => bench.close());
      const { processor, came, ran, most } = recorded({});
      const jobs = [];
      for (let i = 0; i < 10; i++) jobs.push(await bench.add({}));

      await bench.worker(processor, { concurrency: 10 });
      await Promise.all(jobs.map(job => bench.result(job)));

      expect(ran).to.deep.equal(came);
      expect(most()).to.equal(1);
    });
  }
});

describe('The jobs of two workers on one queue', () => {
  for (const [setup, ms] of [
    [setupNamed('BullMQ 6 with ioredis options'), 50],
    [setupNamed('BullMQ 6 with a node-redis client'), 20],
    [setupNamed('BullMQ 6 with a Valkey GLIDE client'), 20],
    [setupNamed('BullMQ 6 on a Redis Cluster'), 20],
    [setupNamed('BullMQ 6 on PostgreSQL'), 20],
    [setupNamed('BullMQ 5 with an ioredis instance'), 20],
  ] as const) {
    it(`run in the order in which they came, and none waits in vain (${setup.name})`, async () => {
      const bench = await Bench.open(setup);
      closes.push(() => bench.close());
      const { processor, came, ran, most } = recorded({ whenLocked: { waitFor: 3000 } });
      const jobs = await bench.queue.addBulk(
        Array.from({ length: 60 }, () => ({ name: 'job', data: { ms } })),
      );

      for (let i = 0; i < 2; i++) await bench.worker(processor, { concurrency: 10 });
      const failures = (
        await Promise.all(jobs.map(job => bench.ended(job).then(() => job.isFailed())))
      ).filter(Boolean);

      expect(failures).to.deep.equal([]);
      expect(ran).to.deep.equal(came);
      expect(most()).to.equal(1);
    });
  }
});

describe('The jobs of several queues of one scope', () => {
  const classes6 = { Queue, Worker };
  const classes5 = bullmq5 as never as typeof classes6;

  for (const [name, all] of Object.entries({
    'two of BullMQ 6': [classes6, classes6],
    'one of BullMQ 5 and one of BullMQ 6': [classes5, classes6],
  })) {
    it(`run in the order in which they came, and none is lost (${name})`, async () => {
      const scope = uniqueName('scope');
      const { processor, came, ran, most } = recorded({ scope, whenLocked: { waitFor: 3000 } });
      let completed = 0;
      const failures: string[] = [];
      for (const classes of all) {
        const queue = new classes.Queue(uniqueName('queue'), { connection: redisOptions() });
        await queue.addBulk(Array.from({ length: 30 }, () => ({ name: 'job', data: { ms: 20 } })));
        const worker = new classes.Worker(queue.name, processor, {
          connection: redisOptions(),
          concurrency: 10,
        });
        worker.on('completed', () => completed++);
        worker.on('failed', (_job, error) => failures.push(error.message));
        closes.push(
          () => queue.close(),
          () => queue.obliterate({ force: true }),
          () => worker.close(),
        );
      }
      await until(() => completed + failures.length === 60);

      expect(failures).to.deep.equal([]);
      expect(ran).to.deep.equal(came);
      expect(most()).to.equal(1);
    });
  }
});

describe('The owner of a lease, behind others that wait for it', () => {
  for (const concurrency of [1, 2]) {
    it(`reclaims it at once (concurrency: ${concurrency})`, async () => {
      const cache = new MemoryCache();
      const lockOf = (owner: string) => new Lock('k', { cache, owner, concurrency });
      const handles = [];
      for (let i = 1; i < concurrency; i++) handles.push(await lockOf(`other-${i}`).acquire());
      handles.push(await lockOf('me').acquire());
      const waiting = new Lock('k', { cache, concurrency }).acquire({ waitFor: 60_000 });
      await delay(20);

      const again = await lockOf('me').acquire({ waitFor: 60_000 });

      expect(again.held).to.equal(true);
      await again.release();
      await (await waiting).release();
      for (const handle of handles) await handle.release();
    });
  }
});
