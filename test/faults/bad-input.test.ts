/** Bad input through keys into every kind of cache, and through real queues. More: `npm run test:faults -- --only bad`. */

import type { Job } from 'bullmq';
import { expect } from 'chai';
import fc from 'fast-check';
import { onceProcessor } from '../../src/index.ts';
import { Bench, oneOfEachKind } from '../support/bullmq.ts';
import { CHECKS, data } from './bad-input.ts';
import { CHECKS_OF_LINES } from './bad-input-of-lines.ts';
import { openTargets, type Target } from './targets.ts';

describe('Bad input', () => {
  let targets: Target[];
  before(async () => {
    targets = await openTargets();
  });
  after(async () => {
    for (const target of targets) await target.close();
  });

  for (const [what, check] of Object.entries({ ...CHECKS, ...CHECKS_OF_LINES })) {
    it(`${what}`, () => check(targets, { numRuns: 150 }));
  }
});

for (const setup of oneOfEachKind) {
  describe(`Bad input as a job's data (${setup.name})`, () => {
    it('gives a clear error or a run, and leaves no lock', async () => {
      const bench = await Bench.open(setup);
      const failures: (Error & { code?: string })[] = [];
      for (const key of [undefined, 'k-{a}']) {
        const processor = onceProcessor(async (_job: Job) => 'ran', key === undefined ? {} : { key });
        const worker = await bench.worker(processor, { concurrency: 10 });
        worker.on('failed', (_job, error) => failures.push(error));
        const some = fc.sample(fc.oneof(data, fc.record({ a: data })), 40).filter(isJson);
        // A queue refuses some of it: PostgreSQL stores no NUL.
        const jobs = await Promise.all(some.map(one => bench.add(one).catch(() => undefined)));
        for (const job of jobs) if (job) await bench.ended(job);
        await worker.close();
      }

      for (const error of failures) expect(error).to.include({ code: 'ERR_LOCK_KEY' });
      expect(await bench.storedNames()).to.deep.equal([]);
      await bench.close();
    });
  });
}

/** Whether a queue can store it. */
function isJson(value: unknown): boolean {
  try {
    return JSON.stringify(value) !== undefined;
  } catch {
    return false;
  }
}
