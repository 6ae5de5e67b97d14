/** Stored names beside BullMQ's own: a producer chooses the ids of its jobs. */

import { expect } from 'chai';
import type { Redis } from 'ioredis';
import { lineName } from '../../src/key/line-name.ts';
import { isLockName, queueName } from '../../src/key/stored-name.ts';
import { Bench, setupNamed } from '../support/bullmq.ts';
import { connectRedis } from '../support/index.ts';

/** What BullMQ writes behind a job's id, see its `keys` and scripts. */
const SUFFIXES = ['', 'lock', 'logs', 'dependencies', 'processed', 'failed', 'unsuccessful'];
/** Ids of three segments are legal; earlier versions took any. */
const LEGAL_IDS = [':once:1', '::1', 'once:1:k', ':once:newest', 'once::1', '17'];
const EARLIER_IDS = ['::once:1', ':once:1:k', ':once:1:emails:k', '::once:1:emails:k'];

describe('A stored name of a queue', () => {
  it("is no name that BullMQ makes of a job's id, whatever that is", () => {
    for (const id of [...LEGAL_IDS, ...EARLIER_IDS]) {
      for (const suffix of SUFFIXES) {
        const ofBullmq = `bull:emails:${id}${suffix && `:${suffix}`}`;
        if (LEGAL_IDS.includes(id)) expect(isLockName(ofBullmq), ofBullmq).to.equal(false);
        for (const key of [...SUFFIXES, 'k', `1:${suffix}`, `${id}:${suffix}`]) {
          const name = queueName('bull:emails', key);
          expect([name, lineName(name)]).not.to.include(ofBullmq);
        }
      }
    }
  });

  for (const setup of ['BullMQ 6 with ioredis options', 'BullMQ 5 with ioredis options'].map(setupNamed)) {
    describe(`(${setup.name})`, () => {
      let bench: Bench;
      let redis: Redis;
      beforeEach(async () => {
        bench = await Bench.open(setup);
        redis = connectRedis();
      });
      afterEach(async () => {
        redis.disconnect();
        await bench.close();
      });

      it('is held by no job with a hostile id, and all of its jobs run', async () => {
        const worker = await bench.worker(async job => job.log('worked'));
        const jobs = [];
        for (const jobId of [':once:1', '::1', 'once:1:k']) jobs.push(await bench.add({}, { jobId }));
        await Promise.all(jobs.map(job => bench.result(job)));
        await worker.close();

        const names = await redis.keys(`*${bench.queueName}*`);
        expect(names.filter(isLockName)).to.deep.equal([]);
        expect(names.some(name => name.endsWith(':once:1:logs'))).to.equal(true);
      });

      it('stays held when the queue is drained, cleaned, rid of orphans and obliterated', async () => {
        const { finish } = await bench.hold({ key: 'k' });
        const held = await bench.holder('k');

        await bench.queue.drain(true);
        for (const state of ['completed', 'failed', 'delayed', 'wait'] as const) {
          await bench.queue.clean(0, 0, state);
        }
        const { queue } = bench as { queue: { removeOrphanedJobs?(): Promise<unknown> } };
        await queue.removeOrphanedJobs?.();
        await bench.queue.obliterate({ force: true });

        expect(await bench.holder('k')).to.include({ fence: held?.fence, state: 'running' });
        await finish().catch(() => {});
      });
    });
  }
});
