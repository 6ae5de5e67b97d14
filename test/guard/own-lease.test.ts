/** A job that finds its key held by a lease of its own, or that is no longer its worker's. */

import type { Job } from 'bullmq';
import { expect } from 'chai';
import { type Holder, LockError, type LockEvent, MemoryCache, onceProcessor } from '../../src/index.ts';
import { Bench, oneOfEachKind, plainJob } from '../support/bullmq.ts';
import { deferred, rejection, until } from '../support/index.ts';

describe('A job whose own lease holds its key', () => {
  const run = (attemptsStarted: number, id = '17') => plainJob(id, { attemptsStarted });

  it('completes with its own result and without a second run if its work was done, even under raiseIfLock', async () => {
    let runs = 0;
    const options = { key: 'k', dedupeFor: 60_000, raiseIfLock: true, cache: new MemoryCache() };
    const guarded = onceProcessor(async () => ++runs, options);

    expect(await guarded(run(1))).to.equal(1);
    expect(await guarded(run(2))).to.equal(1);

    expect(runs).to.equal(1);
  });

  it('leaves other jobs to be duplicates of its finished work', async () => {
    const holders: string[] = [];
    const whenLocked = (_job: Job, holder: Holder) => void holders.push(new LockError('k', holder).message);
    const options = { key: 'k', dedupeFor: 60_000, whenLocked, cache: new MemoryCache() };
    const guarded = onceProcessor(async () => 'ran', options);
    await guarded(run(1));

    await guarded(run(1, '18'));

    expect(holders).to.deep.equal(["lock 'k' was done by job 17 of emails and stays held for another 60 s"]);
  });

  it('fails if a newer run of it holds the key: it is not skipped', async () => {
    const gate = deferred();
    const cache = new MemoryCache();
    const guarded = onceProcessor(() => gate.promise.then(() => 'ran'), { key: 'k', cache });
    const newer = guarded(run(2));

    const older = await rejection(guarded(run(1)));
    gate.resolve();

    expect(older).to.be.instanceOf(LockError);
    expect(await newer).to.equal('ran');
  });
});

for (const setup of oneOfEachKind) {
  describe(`A job that stalled before its work began (${setup.name})`, () => {
    it("does not run, emits 'lost', and leaves its key to its next run", async () => {
      const bench = await Bench.open(setup);
      const events: LockEvent[] = [];
      const ran: unknown[] = [];
      const failures: Error[] = [];
      const late = deferred();
      const guarded = onceProcessor(async (job: Job) => void ran.push(job.attemptsStarted), {
        key: 'k',
        onEvent: event => events.push(event),
      });
      // As if its process had stood still since it asked for the job: BullMQ's own lock on the job is not renewed.
      const stalls = { lockDuration: 500, skipLockRenewal: true, skipStalledCheck: true };
      await bench.worker(async (job, token) => {
        await late.promise;
        await guarded(job as never, token).catch(error => failures.push(error));
      }, stalls);
      const job = await bench.add({});
      await bench.reaches(job, 'active');
      await bench.worker(guarded, { stalledInterval: 100, lockDuration: 5000 });
      await bench.ended(job);

      late.resolve();
      await until(() => failures.length === 1);

      expect(ran).to.deep.equal([2]);
      expect(failures[0]).to.include({ code: 'ERR_LOCK_LOST', key: 'k', reason: 'stalled' });
      const lost = events.filter(({ type }) => type === 'lost');
      expect(lost).to.have.length(1);
      expect(lost[0]).to.include({ key: 'k', reason: 'stalled', jobId: job.id, queueName: bench.queueName });
      await until(async () => (await bench.holder('k')) === undefined, 'the key is free');
      await bench.close();
    });
  });
}
