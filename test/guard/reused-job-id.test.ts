/** A producer may use the id and the timestamp of a removed job again. The new job is not the old one, and takes no lease of it for its own. */

import type { Job } from 'bullmq';
import { expect } from 'chai';
import { type Cache, type LockEvent, type MemoryCache, onceProcessor } from '../../src/index.ts';
import { Bench, oneOfEachKind, plainJob } from '../support/bullmq.ts';
import { deferred, rejection, uniqueName, until } from '../support/index.ts';
import { acquire, acquireStep } from '../support/steps.ts';
import { stores } from '../support/stores.ts';

const TIMESTAMP = 1_790_000_000_000;
/** What becomes of a duplicate here: its result says so. */
const whenLocked = (_job: Job, holder: { readonly state: string }) => `duplicate of ${holder.state}`;

for (const setup of oneOfEachKind) {
  describe(`A job with the id and the timestamp of a removed one (${setup.name})`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    const addAgain = (options: object = {}) =>
      bench.add({}, { jobId: 'reused', timestamp: TIMESTAMP, ...options });

    it('is a duplicate of the done work, as any other job', async () => {
      let runs = 0;
      const options = { key: 'k', dedupeFor: 60_000, whenLocked };
      await bench.worker(onceProcessor(async () => `run ${++runs}`, options));
      const first = await addAgain();
      const results = [await bench.result(first)];
      await first.remove();

      results.push(await bench.result(await addAgain()));

      expect(results).to.deep.equal(['run 1', 'duplicate of done']);
    });

    it('is not promoted in the place of the old one, whose turn it is (another timestamp)', async () => {
      const { job, ran, finish } = await bench.hold({ whenLocked: 'in-order' });
      const first = await addAgain();
      await bench.reaches(first, 'delayed');
      const second = await bench.add({});
      await bench.reaches(second, 'delayed');
      await first.remove();
      const later = await addAgain({ timestamp: Date.now(), delay: 600_000 });

      await finish();
      await bench.reaches(second, 'completed');

      expect(ran).to.deep.equal([job.id, second.id]);
      expect(await bench.queue.getJob(`${later.id}`)).to.include({ attemptsStarted: 0 });
    });

    it('is a duplicate of the done work, though that took three attempts', async () => {
      let runs = 0;
      const work = async ({ attemptsStarted }: Job) => {
        runs++;
        if ((attemptsStarted ?? 0) < 3) throw new Error('try again');
        return `attempt ${attemptsStarted}`;
      };
      await bench.worker(onceProcessor(work, { key: 'k', dedupeFor: 60_000, whenLocked }));
      const first = await addAgain({ attempts: 3 });
      const results = [await bench.result(first)];
      await first.remove();

      results.push(await bench.result(await addAgain()));

      expect(results).to.deep.equal(['attempt 3', 'duplicate of done']);
      expect(runs).to.equal(3);
    });

    it('runs as any other job where the key is free again', async () => {
      let runs = 0;
      await bench.worker(onceProcessor(async () => `run ${++runs}`, { key: 'k', whenLocked }));
      const first = await addAgain();
      const results = [await bench.result(first)];
      await first.remove();

      results.push(await bench.result(await addAgain()));

      expect(results).to.deep.equal(['run 1', 'run 2']);
    });
  });
}

for (const [where, open] of Object.entries(stores)) {
  describe(`The lease of a removed job (${where})`, () => {
    let cache: Cache;
    let close: () => unknown;
    let key: string;
    beforeEach(async () => {
      ({ cache, close } = await open());
      key = uniqueName('k');
    });
    afterEach(() => close());

    const run = (attemptsStarted: number) => plainJob('17', { attemptsStarted });
    /** The lease of a run that crashed. */
    const leaveBehind = (attempt: number) =>
      acquire(
        cache as MemoryCache,
        acquireStep({ storedKey: `bull::once:1:emails:${key}`, owner: 'bull:emails:17@1', attempt }),
      );

    it('is not reclaimed by the first run of a job that has its id and timestamp', async () => {
      await leaveBehind(1);
      const events: LockEvent[] = [];
      const guarded = onceProcessor(async () => 'ran', {
        key,
        cache,
        whenLocked,
        onEvent: event => events.push(event),
      });

      expect(await guarded(run(1))).to.equal('duplicate of running');
      expect(events.map(({ type }) => type)).to.deep.equal(['handled']);
    });

    it('is reclaimed by a later run of the job, under every strategy', async () => {
      await leaveBehind(1);
      const guarded = onceProcessor(async () => 'ran', { key, cache, whenLocked });

      expect(await guarded(run(2))).to.equal('ran');
    });

    it('is not reclaimed while its work still runs: the two never run at once', async () => {
      const gate = deferred();
      let running = 0;
      let most = 0;
      const guarded = onceProcessor(
        async () => {
          most = Math.max(most, ++running);
          await gate.promise;
          running--;
          return 'ran';
        },
        { key, cache, whenLocked },
      );
      const first = guarded(run(1));
      await until(() => running === 1);

      const second = await guarded(run(1));
      gate.resolve();

      expect([await first, second]).to.deep.equal(['ran', 'duplicate of running']);
      expect(most).to.equal(1);
    });

    it('fails the first run of the new job if the removed one was at a later attempt: it is never skipped silently', async () => {
      await leaveBehind(3);
      const guarded = onceProcessor(async () => 'ran', { key, cache });

      const error = await rejection(guarded(run(1)));

      expect(error).to.include({ code: 'ERR_LOCK_HELD' });
    });

    it('is waited for as that of any other job ({ waitFor })', async () => {
      const gate = deferred();
      const ran: unknown[] = [];
      const guarded = onceProcessor(
        async (job: Job) => {
          ran.push(job.data);
          await gate.promise;
        },
        { key, cache, whenLocked: { waitFor: 20_000 }, raiseIfLock: true },
      );
      const jobOf = (data: string) => plainJob('17', { attemptsStarted: 1, data });
      const first = guarded(jobOf('first'));
      await until(() => ran.length === 1);

      const second = guarded(jobOf('second'));
      gate.resolve();
      await Promise.all([first, second]);

      expect(ran).to.deep.equal(['first', 'second']);
    });
  });
}
