/** Bad input through keys into every kind of cache, and through real queues. More of it: `BAD_INPUT_RUNS=1000`. */

import type { Job } from 'bullmq';
import { expect } from 'chai';
import fc from 'fast-check';
import { onceProcessor } from '../../src/index.ts';
import { Bench, oneOfEachKind } from '../support/bullmq.ts';
import { checkData, checkTexts, data, keyText, monsters, pairs, texts } from './bad-input.ts';
import { openTargets, type Target } from './targets.ts';

const numRuns = Number(process.env.BAD_INPUT_RUNS ?? 150);

describe('bad input', () => {
  let targets: Target[];
  before(async () => {
    targets = await openTargets();
  });
  after(async () => {
    for (const target of targets) await target.close();
  });

  const eachTarget = async (check: (target: Target) => Promise<void>) => {
    for (const target of targets) {
      const before = await target.stored();
      try {
        await check(target);
      } catch (error) {
        throw new Error(`${target.name}: ${(error as Error).message}`, { cause: error });
      }
      expect(await target.stored(), target.name).to.deep.equal(before);
    }
  };

  it('as keys, owners and scopes gives each its own lock, in every cache', () =>
    fc.assert(
      fc.asyncProperty(texts, keyText, keyText, (both, owner, scope) =>
        eachTarget(({ cache }) => checkTexts(cache, both, owner, scope)),
      ),
      { numRuns },
    ));

  it('as an argument gives a clear error, or the lock of that argument and no other, in every cache', () =>
    fc.assert(
      fc.asyncProperty(pairs, both => eachTarget(({ cache }) => checkData(cache, both))),
      { numRuns },
    ));

  it('that no random choice comes by does no more harm', async () => {
    for (const [i, one] of monsters.entries()) {
      for (const other of [one, monsters[i + 1], { a: one }]) {
        await eachTarget(({ cache }) => checkData(cache, [one, other]));
      }
    }
  });
});

for (const setup of oneOfEachKind) {
  describe(`bad input as a job's data, on ${setup.name}`, () => {
    it('gives a clear error or a run, and leaves no lock', async () => {
      const bench = await Bench.open(setup);
      const failures: (Error & { code?: string })[] = [];
      for (const key of [undefined, 'k-{a}']) {
        const processor = onceProcessor(async (_job: Job) => 'ran', key === undefined ? {} : { key });
        const worker = await bench.worker(processor, { concurrency: 10 });
        worker.on('failed', (_job, error) => failures.push(error));
        const some = fc.sample(fc.oneof(data, fc.record({ a: data })), 40).filter(isJson);
        // Some of it a queue does not take: PostgreSQL stores no NUL.
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

/** Whether a queue takes it. */
function isJson(value: unknown): boolean {
  try {
    return JSON.stringify(value) !== undefined;
  } catch {
    return false;
  }
}
