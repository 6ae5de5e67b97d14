/** No lease is lost in silence where a replica takes the place of its master. */

import { type ConnectionOptions, type Job, Queue, Worker } from 'bullmq';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import { Lock, type LockHandle, onceProcessor, RedisCache } from '../../src/index.ts';
import { deferred, uniqueName, until } from '../support/index.ts';
import { RedisSentinel } from '../support/redis-sentinel.ts';

/**
 * Long enough for a fail-over and a renewal after it. It takes these servers two to four seconds, and as much as six more
 * where their votes are split and they elect again.
 */
const TTL = 18_000;
const KEY = 'k';
const STORED_KEY = `once::1:default:${KEY}`;

describe('A fail-over by sentinels', () => {
  const results = {} as {
    replicated: Awaited<ReturnType<typeof failOverReplicated>>;
    unreplicated: Awaited<ReturnType<typeof failOverUnreplicated>>;
  };
  // Both happen at the same time, since most of it is waiting.
  before(async function () {
    // On a machine that does much else the sentinels elect again and again.
    this.timeout(180_000);
    const [replicated, unreplicated] = await Promise.all([failOverReplicated(), failOverUnreplicated()]);
    Object.assign(results, { replicated, unreplicated });
  });

  it('ends in a renewed lease, which was held all the time (the replica had the lease)', () => {
    const { held, aborted, storedFence, fence } = results.replicated;

    expect([held, aborted]).to.deep.equal([true, false]);
    expect(storedFence).to.equal(fence);
  });

  it('leaves a lease that can be released on the new master (the replica had the lease)', () => {
    const { released, isLeft } = results.replicated;

    expect([released, isLeft]).to.deep.equal([true, false]);
  });

  it("lets a worker's job go on under its lock, and its duplicates are skipped (the replica had the lease)", () => {
    const { job, duplicate } = results.replicated;

    expect(duplicate).to.equal(null);
    expect(job).to.deep.equal({ heldAfterFailOver: true, heldAtEnd: true });
  });

  it('aborts the signal (the replica had not received the lease)', () => {
    const { held, reason } = results.unreplicated;

    expect(held).to.equal(false);
    expect(reason).to.include({ code: 'ERR_LOCK_LOST', reason: 'revoked' });
  });
});

/** A lock and a worker's job before, during and after a fail-over. */
async function failOverReplicated() {
  const sentinel = await RedisSentinel.start();
  const client = sentinel.connect();
  const running = await startJob(sentinel);
  const handle = await acquire(client);
  await client.wait(1, 10_000);

  await sentinel.failOver();
  const job = await running.finish();
  const master = new Redis(sentinel.replica.port);
  const left = await master.pttl(STORED_KEY);
  await until(async () => (await master.pttl(STORED_KEY)) > left);

  const { held, fence, signal } = handle;
  const storedFence: unknown = JSON.parse((await master.get(STORED_KEY)) as string).fence;
  const released = await handle.release();
  const isLeft = (await master.exists(STORED_KEY)) === 1;
  master.disconnect();
  client.disconnect();
  await sentinel.stop();
  return { held, aborted: signal.aborted, fence, storedFence, released, isLeft, ...job };
}

/** Starts a worker and one job, which has a duplicate after the fail-over. */
async function startJob(sentinel: RedisSentinel) {
  const name = uniqueName('queue');
  const connection = sentinel.options as ConnectionOptions;
  const queue = new Queue(name, { connection });
  const gate = deferred();
  const started = deferred<LockHandle>();
  const processor = onceProcessor(
    async (_job, _token, _signal, lock) => {
      started.resolve(lock);
      await gate.promise;
      return lock.held;
    },
    { key: 'k', ttl: TTL },
  );
  const worker = new Worker(name, processor, { connection, concurrency: 2, lockDuration: 60_000 });
  for (const one of [queue, worker] as Queue[]) one.on('error', () => {});
  const job = await queue.add('job', {});
  const lock = await started.promise;
  return {
    async finish() {
      const duplicate = await queue.add('job', {});
      const ofDuplicate = await resultOf(queue, duplicate);
      const heldAfterFailOver = lock.held;
      gate.resolve();
      const heldAtEnd = await resultOf(queue, job);
      await Promise.all([worker.close(), queue.close()]);
      return { duplicate: ofDuplicate, job: { heldAfterFailOver, heldAtEnd } };
    },
  };
}

/** Looks at the job now and then: an event that comes while its listener connects again is lost. */
async function resultOf(queue: Queue, { id }: Job): Promise<unknown> {
  let job: Job | undefined;
  await until(
    async () => {
      job = await queue.getJob(id as string);
      return job?.finishedOn !== undefined;
    },
    'the job has ended',
    120_000,
  );
  return job?.returnvalue;
}

/** A lock that never reaches the replica. */
async function failOverUnreplicated() {
  const sentinel = await RedisSentinel.start();
  const client = sentinel.connect();
  await client.ping();
  await client.config('SET', 'requirepass', 'the replica does not know');
  await client.call('CLIENT', 'KILL', 'TYPE', 'replica');
  const handle = await acquire(client);
  const aborted = deferred();
  handle.signal.addEventListener('abort', () => aborted.resolve());

  await sentinel.failOver();
  await aborted.promise;

  client.disconnect();
  await sentinel.stop();
  return { held: handle.held, reason: handle.signal.reason as unknown };
}

function acquire(client: Redis): Promise<LockHandle> {
  return new Lock(KEY, { cache: new RedisCache(client), ttl: TTL }).acquire();
}
