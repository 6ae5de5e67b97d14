/** `whenLocked: { waitFor }`: a duplicate waits in its slot of the worker. */

import type { Job } from 'bullmq';
import { expect } from 'chai';
import { Lock, onceProcessor, RedisCache } from '../../src/index.ts';
import { Bench, type HoldingJob, oneOfEachKind, setupNamed } from '../support/bullmq.ts';
import { connectRedis, uniqueName, until } from '../support/index.ts';

for (const setup of [...oneOfEachKind, setupNamed('BullMQ 6 with a node-redis client')]) {
  describe(`A duplicate that waits in its slot (${setup.name})`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    /** A job that holds the key, and one that waits for it. */
    async function twoJobs(
      waitFor: number,
      others: { raiseIfLock?: boolean } = {},
    ): Promise<{ first: HoldingJob; second: Job }> {
      const first = await bench.hold({ whenLocked: { waitFor }, ...others }, { concurrency: 2 });
      const second = await bench.add({});
      await bench.reaches(second, 'active', 'completed', 'failed');
      return { first, second };
    }

    it('runs once the holder is done', async () => {
      const { first, second } = await twoJobs(30_000);

      await first.finish();

      expect(await bench.result(second)).to.equal('worked');
      expect(first.ran).to.deep.equal([first.job.id, second.id]);
      expect(await bench.holder('k')).to.equal(undefined);
    });

    it('is skipped if its wait is in vain', async () => {
      const { first, second } = await twoJobs(50);

      expect(await bench.result(second)).to.equal(null);

      await first.finish();
      expect(first.ran).to.deep.equal([first.job.id]);
    });

    it('fails with a LockError if its wait is in vain (raiseIfLock)', async () => {
      const { first, second } = await twoJobs(50, { raiseIfLock: true });

      expect(await bench.failure(second)).to.match(/^lock 'k' is held by/);

      await first.finish();
      expect(first.ran).to.deep.equal([first.job.id]);
    });

    it('stops waiting when BullMQ cancels it', async () => {
      const { first, second } = await twoJobs(60_000);

      // The worker may not know yet that it has the job.
      await until(() => first.worker.cancelJob(second.id as string, 'no longer wanted'));

      expect(await bench.failure(second)).to.match(/no longer wanted|abort/i);
      await first.finish();
      expect(first.ran).to.deep.equal([first.job.id]);
    });

    it('is run by another worker if it stalled meanwhile, and not by the one that waited', async () => {
      const redis = connectRedis();
      const shared = { cache: new RedisCache(redis), scope: uniqueName('scope') };
      const lock = new Lock('k', shared);
      const holder = await lock.acquire();
      const ran: unknown[] = [];
      const processorOf = (name: string) =>
        onceProcessor(async (job: Job) => void ran.push([name, job.attemptsStarted]), {
          ...shared,
          key: 'k',
          whenLocked: { waitFor: 60_000 },
        });
      // It does not renew BullMQ's own lock, so that its job counts as stalled, though it lives and waits.
      const stalls = { lockDuration: 500, skipLockRenewal: true, skipStalledCheck: true };
      await bench.worker(processorOf('first'), stalls);
      const job = await bench.add({});
      await bench.reaches(job, 'active');
      await bench.worker(processorOf('second'), { stalledInterval: 100, lockDuration: 5000 });
      await until(async () => (await bench.queue.getJob(job.id as string))?.attemptsStarted === 2);

      await holder.release();
      await bench.ended(job);

      expect(ran).to.deep.equal([['second', 2]]);
      expect(await lock.tryAcquire()).not.to.equal(undefined);
      redis.disconnect();
    });
  });
}
