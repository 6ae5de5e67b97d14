/** Which delayed jobs are promoted: those that are parked still, and no retry that waits for its backoff. */

import type { Job } from 'bullmq';
import { expect } from 'chai';
import { ownerOf, type RunningJob } from '../../src/bullmq/job.ts';
import { promoteJob, type StillParked } from '../../src/bullmq/promote.ts';
import { cacheOnConnection } from '../../src/bullmq/queue-cache.ts';
import type { LockCache } from '../../src/index.ts';
import { jobOfOwner, type OwnedBy } from '../../src/key/owner-id.ts';
import { Bench, oneOfEachKind } from '../support/bullmq.ts';
import { until } from '../support/index.ts';

/** What is known of a job that has failed in its second start, and whether it is promoted. */
const CASES: readonly (readonly [what: string, still: StillParked, isPromoted: boolean])[] = [
  ['it was parked in this start', { start: 2 }, true],
  ['it was parked in an earlier start', { start: 1 }, false],
  ['it is in its line', { isParked: async () => true }, true],
  ['it has left its line', { isParked: async () => false }, false],
  ['its line can not be read', { isParked: () => Promise.reject(new Error('no answer')) }, false],
];

for (const setup of oneOfEachKind) {
  describe(`A delayed job (${setup.name})`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    for (const [what, still, isPromoted] of CASES) {
      it(`is ${isPromoted ? 'promoted' : 'left as it is'}: ${what}`, async () => {
        let running: Job | undefined;
        const backoffStrategy = (made?: number) => (made === 1 ? 1 : 3_600_000);
        const processor = async (job: Job) => {
          running = job;
          if (job.attemptsStarted <= 2) throw new Error('asked to fail');
        };
        const worker = await bench.worker(processor, { settings: { backoffStrategy } });
        const job = await bench.add({}, { attempts: 3, backoff: { type: 'custom' } });
        await until(async () => {
          const attempts = (await bench.queue.getJob(job.id as string))?.attemptsMade;
          return attempts === 2 && (await job.getState()) === 'delayed';
        });
        const asking = running as never as RunningJob;
        const cache = (await cacheOnConnection(worker)) as LockCache;

        const promoted = await promoteJob(asking, jobOfOwner(ownerOf(asking)) as OwnedBy, cache, still);

        expect(promoted).to.equal(isPromoted);
        if (isPromoted) await bench.reaches(job, 'completed');
        else expect(await job.getState()).to.equal('delayed');
      });
    }
  });
}
