import type { Job } from 'bullmq';
import { expect } from 'chai';
import {
  caches,
  Lock,
  type LockHandle,
  type LockInfo,
  locksOf,
  MemoryCache,
  onceProcessor,
  RedisCache,
} from '../../src/index.ts';
import { Bench, oneOfEachKind, setupNamed } from '../support/bullmq.ts';
import { connectRedis, deferred, rejection, uniqueName, until } from '../support/index.ts';
import { sharedCluster } from '../support/shared-servers.ts';

/** All locks that are listed, sorted by their keys. */
async function all(locks: AsyncIterable<LockInfo>): Promise<LockInfo[]> {
  const found: LockInfo[] = [];
  for await (const lock of locks) found.push(lock);
  return found.sort((a, b) => (a.key < b.key ? -1 : 1));
}

for (const setup of [
  ...oneOfEachKind,
  ...['BullMQ 6 on a Redis Cluster', 'BullMQ 6 with a Valkey GLIDE client'].map(setupNamed),
]) {
  describe(`locksOf a queue, on ${setup.name}`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    it('lists locks with their jobs, and finds them by their keys', async () => {
      const gate = deferred();
      let running = 0;
      const processor = onceProcessor(
        async (job: Job) => {
          running++;
          if (!job.data.quick) await gate.promise;
        },
        { key: 'k-{id}', dedupeFor: 60_000 },
      );
      await bench.worker(processor, { concurrency: 10 });
      const jobs: Job[] = [];
      for (const id of ['b', 'a', '*']) jobs.push(await bench.add({ id }));
      const quick = await bench.add({ id: 'c', quick: true });
      await bench.ended(quick);
      await until(() => running === 4);

      const found = await all(locksOf(bench.queue).list());
      const some = await all(locksOf(bench.queue).list({ startsWith: 'k-a' }));
      const done = await all(locksOf(bench.queue).list({ state: 'done' }));
      const one = await locksOf(bench.queue).get('k-a');
      const none = await locksOf(bench.queue).get('k-x');
      gate.resolve();
      for (const job of jobs) await bench.ended(job);

      expect(found.map(({ key }) => key)).to.deep.equal(['k-*', 'k-a', 'k-b', 'k-c']);
      expect(some).to.have.length(1);
      expect(done.map(({ jobId }) => jobId)).to.deep.equal([quick.id]);
      expect(none).to.equal(undefined);
      for (const lock of [some[0], one]) {
        expect(lock).to.include({ key: 'k-a', state: 'running', storedKey: bench.storedName('k-a') });
        expect(lock).to.include({ jobId: jobs[1]?.id, queueName: bench.queueName });
        expect(lock).to.include({ queue: bench.queue.qualifiedName });
        expect(lock?.expiresIn).to.be.within(1, 60_000);
        expect(Math.abs(Date.now() - (lock?.since ?? 0))).to.be.below(60_000);
      }
    });

    it('releases a lock by force: the signal of its holder aborts, and the next job runs', async () => {
      const aborted = deferred<unknown>();
      const started = deferred();
      const processor = onceProcessor(
        async (job: Job, _token, signal) => {
          if (job.data.second) return 'second';
          started.resolve();
          await new Promise(resolve => signal?.addEventListener('abort', resolve));
          aborted.resolve(signal?.reason);
          return 'first';
        },
        { key: 'k', ttl: 1500 },
      );
      await bench.worker(processor, { concurrency: 2 });
      const first = await bench.add({});
      await started.promise;

      const admin = locksOf(bench.queue);
      const released = [await admin.forceRelease('k'), await admin.forceRelease('k')];
      const second = await bench.add({ second: true });

      expect(released).to.deep.equal([true, false]);
      expect(await bench.result(second)).to.equal('second');
      expect(await aborted.promise).to.include({ code: 'ERR_LOCK_LOST', reason: 'revoked' });
      expect(await bench.result(first)).to.equal('first');
    });
  });
}

describe('locksOf a queue', () => {
  let bench: Bench;
  beforeEach(async () => {
    bench = await Bench.open();
  });
  afterEach(() => bench.close());

  it('looks into the cache that the registry has for the queue', async () => {
    const cache = new MemoryCache();
    const handle = await new Lock('k', { cache }).acquire();
    caches.set(bench.queueName, cache);

    const found = await all(locksOf(bench.queue, { scope: 'default' }).list());
    caches.delete(bench.queueName);

    expect(found.map(({ key }) => key)).to.deep.equal(['k']);
    await handle.release();
  });

  it('neither finds nor releases a lock that was listed of another queue, scope or cache', async () => {
    const { finish } = await bench.hold();
    const redis = connectRedis();
    const [lock] = (await all(locksOf(bench.queue).list())) as [LockInfo];
    const scope = uniqueName('scope');
    const elsewhere = [
      locksOf({ name: 'other', qualifiedName: 'bull:other' }, { cache: new RedisCache(redis) }),
      locksOf(new RedisCache(redis), { scope }),
      locksOf(new MemoryCache()),
    ];

    const found = await Promise.all(elsewhere.map(admin => admin.get(lock)));
    const isReleased = await Promise.all(elsewhere.map(admin => admin.forceRelease(lock)));
    const isFound = (await locksOf(new RedisCache(redis)).get(lock))?.jobId !== undefined;
    await finish();
    redis.disconnect();

    expect(found).to.deep.equal([undefined, undefined, undefined]);
    expect(isReleased).to.deep.equal([false, false, false]);
    expect(isFound).to.equal(true);
  });

  it('names the job of a lock in a scope', async () => {
    const { job, finish } = await bench.hold({ scope: 'shop-3' });

    const lock = await locksOf(bench.queue, { scope: 'shop-3' }).get('k');
    await finish();

    expect(lock).to.include({ key: 'k', scope: 'shop-3', jobId: job.id, queueName: bench.queueName });
  });
});

describe('locksOf a cache', () => {
  it('lists the locks of all queues and scopes in it, and keeps them apart', async () => {
    const cache = new MemoryCache();
    const handles = await Promise.all([
      new Lock('a', { cache, scope: 'x:y%' }).acquire(),
      new Lock('once:1:b', { cache }).acquire(),
    ]);
    const bench = await Bench.open();
    const { job, finish } = await bench.hold({ key: 'c::once:1:d', cache });

    const found = await all(locksOf(cache).list());
    const scoped = await all(locksOf(cache, { scope: 'x:y%' }).list());
    const ofQueue = await all(locksOf(bench.queue, { cache }).list());
    await finish();
    for (const handle of handles) await handle.release();

    const about = ({ key, queue, scope, jobId }: LockInfo) => [key, queue, scope, jobId];
    expect(found.map(about)).to.deep.equal([
      ['a', undefined, 'x:y%', undefined],
      ['c::once:1:d', `bull:${bench.queueName}`, undefined, job.id],
      ['once:1:b', undefined, 'default', undefined],
    ]);
    expect(scoped.map(({ key }) => key)).to.deep.equal(['a']);
    expect(ofQueue.map(({ key }) => key)).to.deep.equal(['c::once:1:d']);
    await bench.close();
  });

  it('finds locks among much else in a Redis, and leaves alone what no lock wrote', async () => {
    const redis = connectRedis();
    const cache = new RedisCache(redis);
    const scope = uniqueName('scope');
    await Promise.all(Array.from({ length: 2000 }, (_, i) => redis.set(`${scope}:${i}`, 'else', 'EX', 60)));
    const handles = await Promise.all(
      Array.from({ length: 300 }, (_, i) => new Lock(`k-${i}`, { cache, scope }).acquire()),
    );
    await redis.set(`once::1:${scope}:foreign`, 'no lock', 'EX', 60);

    const admin = locksOf(cache, { scope });
    const found = await all(admin.list());
    const foreign = await admin.get('foreign');
    const isReleased = await admin.forceRelease('foreign');
    for (const handle of handles) await handle.release();

    expect(new Set(found.map(({ key }) => key)).size).to.equal(301);
    expect(foreign).to.include({ state: 'foreign', owner: '' });
    expect(isReleased).to.equal(false);
    expect(await redis.get(`once::1:${scope}:foreign`)).to.equal('no lock');
    redis.disconnect();
  });

  it('finds a key of more than 256 characters by its own name, and by the short form that a list shows', async () => {
    const redis = connectRedis();
    const scope = uniqueName('scope');
    const cache = new RedisCache(redis);
    const key = 'a'.repeat(400);
    await new Lock(key, { cache, scope }).acquire();

    const admin = locksOf(cache, { scope });
    const [listed] = (await all(admin.list())) as [LockInfo];
    const found = [await admin.get(key), await admin.get(listed.key)];
    const isReleased = [await admin.forceRelease(listed.key), await admin.forceRelease(key)];
    redis.disconnect();

    expect(listed.key).to.have.length.within(257, 399);
    expect(found.map(lock => lock?.fence)).to.deep.equal([listed.fence, listed.fence]);
    expect(isReleased).to.deep.equal([true, false]);
  });

  it('finds who holds the key of a lock that was listed by now, and ends only the acquisition that was', async () => {
    const cache = new MemoryCache();
    const first = await new Lock('k', { cache, scope: 's', owner: 'first' }).acquire();
    const admin = locksOf(cache, { scope: 's' });
    const [listed] = (await all(admin.list())) as [LockInfo];
    await first.release();
    const second = await new Lock('k', { cache, scope: 's', owner: 'second' }).acquire();

    const now = await admin.get(listed);
    const isReleased = [await admin.forceRelease(listed), await admin.forceRelease(now as LockInfo)];

    expect(now).to.include({ key: 'k', owner: 'second', fence: second.fence });
    expect(isReleased).to.deep.equal([false, true]);
    expect(await admin.get(listed)).to.equal(undefined);
  });

  it('finds the locks on all servers of a Redis Cluster', async () => {
    const client = (await sharedCluster()).connect();
    const cache = new RedisCache(client as never);
    const keys = Array.from({ length: 60 }, (_, i) => `${uniqueName()}-${i}`);
    const handles = await Promise.all(keys.map(key => new Lock(key, { cache }).acquire()));

    const found = await all(locksOf(cache, { scope: 'default' }).list());
    for (const handle of handles) await handle.release();

    expect(found.map(({ key }) => key)).to.include.members(keys);
    client.disconnect();
  });

  it('notifies those who wait for a key of its forced release', async () => {
    const redis = connectRedis();
    const cache = new RedisCache(redis);
    const key = uniqueName('k');
    await new Lock(key, { cache, ttl: 600_000 }).acquire();
    let acquired: LockHandle | undefined;
    const wait = new Lock(key, { cache }).acquire({ waitFor: 60_000 }).then(handle => {
      acquired = handle;
    });
    await until(async () => (await redis.get(`once::1:default:${key}`))?.includes('awaited'));

    await locksOf(cache).forceRelease(key);
    await until(() => acquired?.held, 'the waiter has acquired the key', 4000);

    await wait;
    await acquired?.release();
    redis.disconnect();
  });

  it('says so where the cache is none, or has no list of its locks', async () => {
    const store = { get: () => undefined, set: () => {}, delete: () => {} };

    const error = await rejection(all(locksOf(store).list()));

    expect(error.message).to.equal("locksOf: this cache can't list its locks: it has no method 'list'");
    expect(() => locksOf('nobody')).to.throw(TypeError, 'for the locks of a queue give the Queue itself');
    expect(() => locksOf(undefined as never)).to.throw(
      TypeError,
      'locksOf needs a queue or worker of BullMQ, a cache, or the name of one in caches, not undefined',
    );
  });

  it('refuses a filter that there is not', async () => {
    const error = await rejection(all(locksOf(new MemoryCache()).list({ startWith: 'a' } as never)));

    expect(error).to.be.instanceOf(TypeError);
    expect(error.message).to.equal(
      "locksOf: list: there is no option 'startWith'; there are: startsWith, state",
    );
  });
});
