/** The order of a line is the order in which BullMQ hands the jobs out, whichever of them reaches the cache first. */

import type { Job, Worker } from 'bullmq';
import { expect } from 'chai';
import sinon from 'sinon';
import { ownerOf } from '../../src/bullmq/job.ts';
import { type LockCache, onceProcessor } from '../../src/index.ts';
import { Bench, oneOfEachKind } from '../support/bullmq.ts';
import { deferred, until } from '../support/index.ts';

interface How {
  /** A worker of its own, where none is given. */
  readonly by?: Worker;
  /** Its steps on the key are held up until then. */
  readonly entering?: Promise<void>;
  /** It is moved to the delayed set not before. */
  readonly moving?: Promise<void>;
}

for (const setup of oneOfEachKind) {
  describe(`Jobs that several workers fetch at once (${setup.name})`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    const newWorker = () => bench.worker(null as never, { autorun: false });

    /** A worker fetches a job, and processes it. Its steps on the key are noted. */
    async function fetched({ by, entering, moving }: How = {}) {
      const worker = by ?? (await newWorker());
      const job = (await worker.getNextJob('token', { block: false })) as Job;
      const steps: string[] = [];
      const cache = new Proxy(bench.cache, {
        get(target, name) {
          const value = Reflect.get(target, name, target);
          if (typeof value !== 'function') return value;
          return async (...args: unknown[]) => {
            if (name === 'enter') await entering;
            steps.push(String(name));
            const answer = await value.apply(target, args);
            steps.push(`${String(name)} is answered`);
            return answer;
          };
        },
      });
      const move = job.moveToDelayed.bind(job);
      job.moveToDelayed = async (...args) => {
        await moving;
        return move(...args);
      };
      const ends = deferred<string | undefined>();
      const work = async () => {
        const failure = await ends.promise;
        if (failure) throw new Error(failure);
      };
      const guarded = onceProcessor(work, { key: 'k', whenLocked: 'in-order', cache });
      const processed = guarded(job, 'token').catch(error => error as Error);
      return { job, steps, ends, processed };
    }

    async function ahead(job: Job): Promise<number | undefined> {
      const { lines } = bench.cache as Required<LockCache>;
      const query = { storedKey: bench.storedName('k'), owner: ownerOf(job as never) };
      const [line] = await lines.call(bench.cache, [query]);
      return line instanceof Error ? undefined : line?.ahead;
    }

    const haveEntered = (...jobs: { steps: readonly string[] }[]) =>
      until(() => jobs.every(({ steps }) => steps.includes('enter is answered')));
    /** It has looked at the line again and again, or has joined it. */
    const hasLooked = ({ steps }: { steps: readonly string[] }) =>
      until(() => steps.filter(step => step === 'lines').length > 1 || steps.includes('enter'));

    it('join the line in the order in which they were handed out, though one is back from the line among them', async () => {
      const [enters, moves] = [deferred(), deferred()];
      for (let i = 0; i < 3; i++) await bench.add({});
      const first = await fetched();
      await haveEntered(first);
      const second = await fetched();
      await second.processed;
      const slow = await fetched({ entering: enters.promise });
      await second.job.promote();
      const back = await fetched({ moving: moves.promise });
      await haveEntered(back);
      await bench.add({});
      const last = await fetched();
      await hasLooked(last);

      enters.resolve();
      await haveEntered(last, slow);

      expect([await ahead(back.job), await ahead(slow.job), await ahead(last.job)]).to.deep.equal([0, 1, 2]);
      moves.resolve();
      first.ends.resolve(undefined);
      for (const { processed } of [first, slow, back, last]) await processed;
    });

    it('join the line in the order in which they were handed out, though one is retried among them', async () => {
      const enters = deferred();
      const by = await newWorker();
      await bench.add({}, { attempts: 2 });
      const failing = await fetched({ by });
      failing.ends.resolve('the first run fails');
      await failing.job.moveToFailed((await failing.processed) as Error, 'token', false);
      await bench.add({}, { lifo: true });
      const slow = await fetched({ entering: enters.promise });
      const retried = await fetched({ entering: enters.promise });
      await bench.add({});
      const last = await fetched({ by });
      await hasLooked(last);

      enters.resolve();
      await haveEntered(last, slow, retried);

      expect([retried.job.id, await ahead(slow.job)]).to.deep.equal([failing.job.id, undefined]);
      expect([await ahead(retried.job), await ahead(last.job)]).to.deep.equal([0, 1]);
      slow.ends.resolve(undefined);
      for (const { processed } of [slow, retried, last]) await processed;
    });

    it('join the line in the order in which they were handed out, though one is back elsewhere before its first run has ended', async () => {
      const enters = deferred();
      const by = await newWorker();
      await bench.add({});
      const moved = await fetched({ by });
      await haveEntered(moved);
      await bench.add({});
      const slow = await fetched({ entering: enters.promise });
      await moved.job.moveToDelayed(Date.now() + 3_600_000, 'token');
      await moved.job.promote();
      const back = await fetched();
      await haveEntered(back);
      await bench.add({});
      const last = await fetched({ by });
      await hasLooked(last);

      enters.resolve();
      await haveEntered(last, slow);

      expect(back.job.id).to.equal(moved.job.id);
      expect([await ahead(slow.job), await ahead(last.job)]).to.deep.equal([0, 1]);
      for (const { ends } of [moved, back]) ends.resolve(undefined);
      for (const { processed } of [moved, slow, back, last]) await processed;
    });

    it('asks BullMQ about no job that has run in the same worker', async () => {
      const jobs = 200;
      let done = 0;
      for (let i = 0; i < jobs; i++) await bench.add({ key: `key ${i}` });
      const { Job: JobClass } = bench.queue as unknown as { Job: typeof Job };
      const asks = sinon.spy(JobClass, 'fromId');
      try {
        const guarded = onceProcessor(async () => {}, { key: '{key}', whenLocked: 'in-order' });
        const worker = await bench.worker(guarded as never, { concurrency: 10 });
        worker.on('completed', () => done++);
        await until(() => done === jobs, 'all have run');
      } finally {
        asks.restore();
      }

      expect(asks.callCount).to.be.below(jobs / 10);
    });
  });
}
