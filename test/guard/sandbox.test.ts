/** Sandboxed processors: BullMQ runs a file in a child process, or in a worker thread. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Job, Worker } from 'bullmq';
import { expect } from 'chai';
import { Bench, setupNamed } from '../support/bullmq.ts';
import { redisUrl, uniqueName, until } from '../support/index.ts';
import { sharedPostgres } from '../support/shared-servers.ts';

const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));
const inProcess = fixture('sandboxed.ts');
const inThread = fixture('sandboxed-thread.mjs');
const execArgv = ['--import', 'tsx'];

interface Result {
  readonly pid: number;
  readonly held: boolean;
  readonly fence: number;
  readonly aborted: boolean;
}

const redisSetup = setupNamed('BullMQ 6 with ioredis options');
const redis5Setup = setupNamed('BullMQ 5 with ioredis options');
const postgresSetup = setupNamed('BullMQ 6 on PostgreSQL');

const sandboxes = [
  { name: 'a child process, BullMQ 6', useWorkerThreads: false, setup: redisSetup },
  { name: 'a child process, BullMQ 5', useWorkerThreads: false, setup: redis5Setup },
  { name: 'a child process, BullMQ 6 on PostgreSQL', useWorkerThreads: false, setup: postgresSetup },
  { name: 'a worker thread, BullMQ 6', useWorkerThreads: true, setup: redisSetup },
  { name: 'a worker thread, BullMQ 5', useWorkerThreads: true, setup: redis5Setup },
];

for (const { name, useWorkerThreads, setup } of sandboxes) {
  describe(`a sandboxed processor in ${name}`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());
    let folder: string;
    before(() => {
      folder = mkdtempSync(join(tmpdir(), 'bullmq-once-sandbox-'));
    });
    after(() => rmSync(folder, { recursive: true }));

    /** The process at work on a job, which tells it as its progress. */
    const pidOf = async (job: Job): Promise<number> => {
      const progress = async () => (await bench.queue.getJob(job.id as string))?.progress;
      await until(progress);
      return Number(await progress());
    };
    const start = (variables: NodeJS.ProcessEnv): Promise<Worker> => {
      const env = { ...process.env, ...variables };
      return bench.worker((useWorkerThreads ? inThread : inProcess) as never, {
        useWorkerThreads,
        concurrency: 3,
        workerForkOptions: { execArgv, env },
        workerThreadsOptions: { env },
        lockDuration: 2000,
        stalledInterval: 500,
      });
    };
    const withCache = async (options: object = {}) =>
      start({
        SANDBOX_OPTIONS: JSON.stringify(options),
        ...(setup === postgresSetup
          ? { SANDBOX_POSTGRES: (await sharedPostgres()).url }
          : { SANDBOX_REDIS: redisUrl() }),
      });

    /** The name of a file that is not there yet. */
    const gateFile = () => join(folder, uniqueName('gate'));

    it('runs a job under a lock of its queue, and skips its duplicate', async () => {
      await withCache();
      const gate = gateFile();
      const job = await bench.add({ id: 1, for: gate });
      await until(async () => (await bench.holder('k-1'))?.state === 'running');

      const duplicate = await bench.add({ id: 1, for: 0 });
      const other = await bench.add({ id: 2, for: 0 });

      expect(await bench.result(duplicate)).to.equal(null);
      expect(await bench.result(other)).to.include({ held: true, aborted: false });
      writeFileSync(gate, '');
      expect(await bench.result(job)).to.include({ held: true, aborted: false });
      expect(await bench.holder('k-1')).to.equal(undefined);
    });

    it('puts a duplicate off, which runs later', async () => {
      await withCache({ whenLocked: { retryIn: 200 } });
      const job = await bench.add({ id: 1, for: 700 });
      await until(async () => (await bench.holder('k-1'))?.state === 'running');

      const duplicate = await bench.add({ id: 1, for: 0 });
      await until(async () => (await duplicate.getState()) === 'completed');

      const [first, second] = await Promise.all([bench.result(job), bench.result(duplicate)]);
      expect((second as Result).fence).to.be.above((first as Result).fence);
    });

    it('keeps the last of several duplicates', async () => {
      // Nobody can call it here: it comes back when the lease would have ended.
      await withCache({ whenLocked: 'keep-last', ttl: 500 });
      const gate = gateFile();
      const job = await bench.add({ id: 1, for: gate });
      await until(async () => (await bench.holder('k-1'))?.state === 'running');

      const older = await bench.add({ id: 1, for: 0 });
      const newest = await bench.add({ id: 1, for: 0 });
      await until(async () => (await newest.getState()) === 'delayed');
      await until(async () => ['delayed', 'completed'].includes(await older.getState()));
      writeFileSync(gate, '');
      await until(async () => (await bench.queue.getCompletedCount()) === 3);

      expect((await bench.queue.getJob(older.id as string))?.returnvalue).to.equal(null);
      for (const { id } of [job, newest]) {
        expect((await bench.queue.getJob(id as string))?.returnvalue).to.include({ held: true });
      }
    });

    it('keeps the key of a failed job through its backoff', async () => {
      await withCache({ holdThroughRetries: true });
      const job = await bench.add({ id: 1, for: 0, failsAtFirst: true }, { attempts: 2, backoff: 1000 });
      await until(async () => (await job.getState()) === 'delayed');

      expect(await bench.result(await bench.add({ id: 1, for: 0 }))).to.equal(null);
      expect(await bench.result(job)).to.include({ held: true });
      expect(await bench.holder('k-1')).to.equal(undefined);
    });

    it('says exactly what to write where it has no cache', async () => {
      await start({});

      const failure = await bench.failure(await bench.add({ id: 1, for: 0 }));

      expect(failure)
        .to.match(
          /^job \w+ of queue-\S+ came without a connection to its queue, as jobs do in a sandboxed processor/,
        )
        .and.contain('onceProcessor(fn, { cache: new RedisCache(new Redis()) })')
        .and.contain('new PostgresCache(new pg.Pool())')
        .and.contain(`caches.set('${bench.queueName}', …)`);
    });

    if (!useWorkerThreads) {
      it('takes its lease over when its process was killed and it runs again', async () => {
        await withCache();
        const job = await bench.add({ id: 1, for: 3000 }, { attempts: 3 });
        const victim = await pidOf(job);
        const first = await bench.holder('k-1');

        process.kill(victim, 'SIGKILL');
        const result = (await bench.result(job)) as Result;

        expect(result.held).to.equal(true);
        expect(result.fence).to.be.above(first?.fence as number);
        expect(await bench.holder('k-1')).to.equal(undefined);
      });
    }
  });
}
