/** Guarantees 2 and 5 where a process is suspended: it learns of the loss in time, and harms no other holder. */

import type { Job } from 'bullmq';
import { expect } from 'chai';
import type { Redis } from 'ioredis';
import { Lock, type LockEvent, onceProcessor, RedisCache } from '../../src/index.ts';
import { Bench, setupNamed } from '../support/bullmq.ts';
import { Child } from '../support/child.ts';
import { connectRedis, deferred, redisOptions, uniqueName, until } from '../support/index.ts';
import { WorkerProcesses } from './worker-processes.ts';

/** BullMQ finds out about a worker that stands still in another way on each of these. */
const SETUPS = ['BullMQ 6 with ioredis options', 'BullMQ 6 on PostgreSQL'].map(setupNamed);

for (const setup of SETUPS) {
  describe(`A job whose worker stands still (${setup.name})`, () => {
    let bench: Bench;
    let workers: WorkerProcesses;
    beforeEach(async () => {
      bench = await Bench.open(setup);
      workers = new WorkerProcesses(bench, setup);
    });
    afterEach(async () => {
      await workers.killAll();
      await bench.close();
    });

    it('is run by another; the first run learns of it, and can neither renew nor release', async () => {
      const [first, second] = await Promise.all([workers.start({ ttl: 3000 }), workers.start({ ttl: 3000 })]);
      const job = await bench.add({ id: 1 });
      const [stopped, other] = await whoRuns([first, second], job.id);

      stopped.signal('SIGSTOP');
      const again = await other.message('started');
      stopped.signal('SIGCONT');
      const aborted = await stopped.message('aborted');
      stopped.send({ finish: job.id });
      await stopped.message('finishing');
      // What the first run had to say of its lease is said once its connection has answered a later job.
      const later = await bench.add({ id: 2 });
      await whoRuns([first, second], later.id);
      const stillHeld = await bench.holder('k-1');
      other.send({ finish: job.id });
      for (const child of [first, second]) child.send({ finish: later.id });

      expect(aborted).to.include({ code: 'ERR_LOCK_LOST' });
      expect(aborted.reason).to.be.oneOf(['expired', 'revoked']);
      expect(stillHeld).to.include({ state: 'running', fence: again.fence });
      expect(await bench.result(job)).to.match(/^done by/);
      expect(stopped.messagesOf('unhandled')).to.deep.equal([]);
    });

    /** Lets the worker get a job only after another worker has run it. */
    const processLate = async () => {
      const ran: unknown[] = [];
      const events: LockEvent[] = [];
      const guarded = onceProcessor(async (job: Job) => void ran.push(job.attemptsStarted), {
        key: 'k',
        onEvent: event => events.push(event),
      });
      const late = deferred();
      // As where its process stood still since it had asked for the job. Nobody renews BullMQ's own lock.
      const slowly = async (job: Job, token?: string) => {
        await late.promise;
        return guarded(job, token);
      };
      const failures: unknown[] = [];
      const stopped = { lockDuration: 500, skipLockRenewal: true, skipStalledCheck: true };
      await bench.worker(
        (job, token) => slowly(job, token).catch(error => void failures.push(error)),
        stopped,
      );
      const job = await bench.add({});
      await bench.reaches(job, 'active');
      await bench.worker(guarded, { stalledInterval: 200, lockDuration: 5000 });
      await bench.ended(job);

      late.resolve();
      await until(() => failures.length === 1);
      return { job, ran, events, failure: failures[0] };
    };

    it('does not run again when it comes to its process late (another worker has run it)', async () => {
      const { ran, failure } = await processLate();

      expect(ran).to.deep.equal([2]);
      expect(failure).to.include({ code: 'ERR_LOCK_LOST', reason: 'stalled' });
    });

    it("emits 'lost' when it comes to its process late, and leaves no lock", async () => {
      const { job, events } = await processLate();

      expect(events.slice(0, 4).map(({ type }) => type)).to.deep.equal([
        'acquired',
        'released',
        'acquired',
        'lost',
      ]);
      expect(events[3]).to.include({ key: 'k', jobId: job.id, reason: 'stalled' });
      await until(async () => (await bench.storedNames()).length === 0);
    });

    it('aborts its first run at once when it starts again in the same process', async () => {
      const runs: { signal: AbortSignal; end: (value: string) => void }[] = [];
      const processor = onceProcessor(
        (_job: Job, _token, signal) =>
          new Promise<string>(resolve => {
            runs.push({ signal: signal as AbortSignal, end: resolve });
          }),
        { key: 'k-{id}', ttl: 600_000 },
      );
      // Without renewals of BullMQ's own lock the job counts as stalled, though its worker lives.
      const options = { lockDuration: 800, stalledInterval: 200, skipLockRenewal: true, maxStalledCount: 1 };
      await bench.worker(processor, { ...options, concurrency: 2 });

      await bench.add({ id: 1 });
      await until(() => runs.length === 2);
      const [first, second] = runs;
      await until(() => first?.signal.aborted);
      const secondAborted = second?.signal.aborted;
      first?.end('first');
      second?.end('second');

      expect(first?.signal.reason).to.include({ code: 'ERR_LOCK_LOST', reason: 'revoked' });
      expect(secondAborted).to.equal(false);
      await until(async () => (await bench.holder('k-1')) === undefined);
    });
  });
}

describe('A Lock whose process is suspended for longer than its ttl', () => {
  let redis: Redis;
  let child: Child | undefined;
  beforeEach(() => {
    redis = connectRedis();
  });
  afterEach(async () => {
    await child?.kill();
    redis.disconnect();
  });

  it('is lost, and its release does not free the lock of the next holder', async () => {
    const key = uniqueName();
    child = new Child('lock-holder.ts', { port: redisOptions().port, key, options: { ttl: 1000 } });
    await child.message('held');
    child.signal('SIGSTOP');
    const next = await new Lock(key, { cache: new RedisCache(redis), ttl: 60_000 }).acquire({
      waitFor: 30_000,
    });
    child.signal('SIGCONT');

    const aborted = await child.message('aborted');
    const released = await child.message('released');

    expect(aborted).to.include({ reason: 'expired', held: false });
    expect(released.was).to.equal(false);
    expect(next.held).to.equal(true);
    expect(await next.release()).to.equal(true);
  });
});

/** Waits until one of two processes has started a job. @returns that process, and the other. */
async function whoRuns(children: readonly [Child, Child], id: string | undefined): Promise<[Child, Child]> {
  const hasStarted = (child: Child) => child.messagesOf('started').some(message => message.id === id);
  await until(() => children.some(hasStarted));
  const [one, other] = children;
  return hasStarted(one) ? [one, other] : [other, one];
}
