/** A job that finds its key held by a lease of its own, or that is no longer its worker's. */

import { setTimeout as delay } from 'node:timers/promises';
import type { Job } from 'bullmq';
import { expect } from 'chai';
import sinon from 'sinon';
import { type Holder, LockError, type LockEvent, MemoryCache, onceProcessor } from '../../src/index.ts';
import { Bench, oneOfEachKind, plainJob } from '../support/bullmq.ts';
import { deferred, rejection, until } from '../support/index.ts';

/** A job of a worker that can be asked whether it is still its. */
function ofWorker(job: Job, { isOwned }: { isOwned(): Promise<boolean> }): Job {
  const extendLock = async () => ((await isOwned()) ? 1 : 0);
  return Object.assign(job, { queue: { opts: { lockDuration: 30_000 } }, extendLock });
}

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

  it('completes with the result of a newer run that has done the work: nobody handles it as a duplicate', async () => {
    const handled: unknown[] = [];
    const whenLocked = (job: Job) => void handled.push(job.id);
    const options = { key: 'k', dedupeFor: 60_000, whenLocked, cache: new MemoryCache() };
    const guarded = onceProcessor(async () => 'newer', options);
    await guarded(run(2));
    const older = ofWorker(run(1), { isOwned: async () => false });

    expect(await guarded(older, 'its token')).to.equal('newer');
    expect(handled).to.deep.equal([]);
  });
});

describe('A job whose lock expires while BullMQ is asked whether the job is still its', () => {
  it('fails, and does not begin with it', async () => {
    const ran: unknown[] = [];
    const guarded = onceProcessor(async (job: Job) => ran.push(job.id), {
      key: 'k',
      ttl: 50,
      cache: new MemoryCache(),
    });
    const isOwned = async () => {
      await delay(100);
      return true;
    };
    const job = ofWorker(plainJob('17', { attemptsStarted: 1, processedOn: Date.now() - 60_000 }), {
      isOwned,
    });
    // Renewals would keep it.
    const renewing = sinon
      .stub(MemoryCache.prototype, 'renew')
      .callsFake(async steps => steps.map(() => false));

    const error = await rejection(guarded(job, 'its token')).finally(() => renewing.restore());

    expect(error).to.include({ code: 'ERR_LOCK_LOST', key: 'k' });
    expect(ran).to.deep.equal([]);
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
