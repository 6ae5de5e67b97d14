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

/** Longer than any test takes: the jobs are promoted. */
const BACKOFF = 60_000;

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
  describe(`A job in a sandbox (${name})`, () => {
    let bench: Bench;
    let folder: string;
    before(() => {
      folder = mkdtempSync(join(tmpdir(), 'bullmq-once-sandbox-'));
    });
    after(() => rmSync(folder, { recursive: true }));
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    function start(variables: NodeJS.ProcessEnv): Promise<Worker> {
      const env = { ...process.env, ...variables };
      return bench.worker((useWorkerThreads ? inThread : inProcess) as never, {
        useWorkerThreads,
        concurrency: 3,
        workerForkOptions: { execArgv, env },
        workerThreadsOptions: { env },
        lockDuration: 2000,
        stalledInterval: 500,
      });
    }

    async function startWithCache(options: object = {}): Promise<void> {
      await start({
        SANDBOX_OPTIONS: JSON.stringify(options),
        ...(setup === postgresSetup
          ? { SANDBOX_POSTGRES: (await sharedPostgres()).url }
          : { SANDBOX_REDIS: redisUrl() }),
      });
    }

    /** Adds a job that holds its key, and runs until the file that is its gate is written. */
    async function hold(options?: object): Promise<{ job: Job; open(): void }> {
      const gate = join(folder, uniqueName('gate'));
      const job = await bench.add({ id: 1, for: gate }, options);
      await until(async () => (await bench.holder('k-1'))?.state === 'running');
      return { job, open: () => writeFileSync(gate, '') };
    }

    it('runs under a lock of its queue, and is skipped if its key is held', async () => {
      await startWithCache();
      const first = await hold();

      const duplicate = await bench.add({ id: 1, for: 0 });
      const other = await bench.add({ id: 2, for: 0 });

      expect(await bench.result(duplicate)).to.equal(null);
      expect(await bench.result(other)).to.include({ held: true, aborted: false });
      first.open();
      expect(await bench.result(first.job)).to.include({ held: true, aborted: false });
      expect(await bench.holder('k-1')).to.equal(undefined);
    });

    it('is delayed if its key is held, and runs later ({ delay })', async () => {
      await startWithCache({ whenLocked: { delay: 100 } });
      const { job, open } = await hold();

      const duplicate = await bench.add({ id: 1, for: 0 });
      await bench.reaches(duplicate, 'delayed');
      open();

      const [first, second] = await Promise.all([bench.result(job), bench.result(duplicate)]);
      expect((second as Result).fence).to.be.above((first as Result).fence);
    });

    it("is parked if its key is held, and runs as the newest ('keep-last')", async () => {
      await startWithCache({ whenLocked: 'keep-last' });
      const first = await hold();

      const older = await bench.add({ id: 1, for: 0 });
      const newest = await bench.add({ id: 1, for: 0 });
      await bench.reaches(newest, 'delayed');
      await bench.reaches(older, 'delayed', 'completed');
      // No other job can promote it here, so that it comes back by itself, and soon.
      expect((await bench.queue.getJob(newest.id as string))?.delay).to.be.within(1, 5000);
      first.open();
      await bench.result(first.job);
      await older.promote().catch(() => {});

      expect(await bench.result(older)).to.equal(null);
      await newest.promote();
      for (const one of [first.job, newest]) expect(await bench.result(one)).to.include({ held: true });
    });

    it("is parked if its key is held, and comes for the result by itself ('share')", async () => {
      await startWithCache({ whenLocked: 'share' });
      const first = await hold();
      const duplicates = [await bench.add({ id: 1, for: 0 }), await bench.add({ id: 1, for: 0 })];
      for (const job of duplicates) await bench.reaches(job, 'delayed');

      first.open();

      const result = await bench.result(first.job);
      expect(result).to.include({ held: true });
      for (const job of duplicates) expect(await bench.result(job)).to.deep.equal(result);
    });

    it('keeps its key until its retry, and reclaims it then (holdThroughRetries)', async () => {
      await startWithCache({ holdThroughRetries: true });
      const job = await bench.add({ id: 1, for: 0, failsAtFirst: true }, { attempts: 2, backoff: BACKOFF });
      await bench.reaches(job, 'delayed');

      expect(await bench.result(await bench.add({ id: 1, for: 0 }))).to.equal(null);
      expect((await bench.holder('k-1'))?.expiresIn).to.be.above(BACKOFF);
      await job.promote();

      expect(await bench.result(job)).to.include({ held: true });
      expect(await bench.holder('k-1')).to.equal(undefined);
    });

    it('fails, and says exactly what to write, if it has no cache', async () => {
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

    for (const dies of useWorkerThreads ? ['exit', 'throw'] : ['exit', 'kill', 'throw']) {
      it(`leaves its key to the next job when it fails because its ${useWorkerThreads ? 'thread' : 'process'} ends (${dies})`, async () => {
        await startWithCache();
        const dead = await bench.add({ id: 1, for: 60_000, dies });
        await bench.failure(dead);
        const left = await bench.holder('k-1');

        // BullMQ may hand it to the very child that is about to end.
        const next = await bench.add({ id: 1, for: 0 }, { attempts: 3 });

        expect(left?.state).to.equal('running');
        expect(await bench.result(next)).to.include({ held: true });
        expect(await bench.holder('k-1')).to.equal(undefined);
      });
    }

    it('leaves its key held when it fails so and is removed: it may be on another server (removeOnFail)', async () => {
      await startWithCache();
      const dead = await bench.add({ id: 1, for: 60_000, dies: 'exit' }, { removeOnFail: true });
      await bench.failure(dead);

      expect(await bench.result(await bench.add({ id: 1, for: 0 }, { attempts: 3 }))).to.equal(null);
    });

    if (!useWorkerThreads) {
      it('reclaims its lease when it runs again after its process was killed', async () => {
        await startWithCache();
        const { job, open } = await hold({ attempts: 3 });
        const first = await bench.holder('k-1');
        const victim = await pidOf(job);

        process.kill(victim, 'SIGKILL');
        await until(async () => (await bench.holder('k-1'))?.fence !== first?.fence);
        open();
        const result = (await bench.result(job)) as Result;

        expect(result.held).to.equal(true);
        expect(result.pid).not.to.equal(victim);
        expect(result.fence).to.be.above(first?.fence as number);
        expect(await bench.holder('k-1')).to.equal(undefined);
      });
    }

    /** The process that works on a job, which the job reports as its progress. */
    async function pidOf(job: Job): Promise<number> {
      const progress = async () => (await bench.queue.getJob(job.id as string))?.progress;
      await until(progress);
      return Number(await progress());
    }
  });
}
