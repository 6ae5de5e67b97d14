import type { Job } from 'bullmq';
import { expect } from 'chai';
import { caches, Lock, type LockInfo, locks, MemoryCache, onceProcessor, RedisCache } from '../../src/index.ts';
import { Bench, oneOfEachKind, setupNamed } from '../support/bullmq.ts';
import { connectRedis, deferred, rejection, uniqueName, until } from '../support/index.ts';
import { sharedCluster } from '../support/shared-servers.ts';

async function all(found: AsyncIterable<LockInfo>): Promise<LockInfo[]> {
  const infos: LockInfo[] = [];
  for await (const info of found) infos.push(info);
  return infos.sort((a, b) => (a.key < b.key ? -1 : 1));
}

for (const setup of [
  ...oneOfEachKind,
  ...['BullMQ 6 on a Redis Cluster', 'BullMQ 6 with a Valkey GLIDE client'].map(setupNamed),
]) {
  describe(`the locks of a queue, on ${setup.name}`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    it('are told with their jobs, and found by their keys', async () => {
      const gate = deferred();
      let running = 0;
      const processor = onceProcessor(
        async (job: Job) => {
          running++;
          if (!job.data.quick) await gate.promise;
        },
        { key: 'k-{id}', keepFor: 60_000 },
      );
      await bench.worker(processor, { concurrency: 10 });
      const jobs: Job[] = [];
      for (const id of ['b', 'a', '*']) jobs.push(await bench.add({ id }));
      const quick = await bench.add({ id: 'c', quick: true });
      await bench.ended(quick);
      await until(() => running === 4);

      const found = await all(locks(bench.queue).list());
      const some = await all(locks(bench.queue).list({ startsWith: 'k-a' }));
      const done = await all(locks(bench.queue).list({ state: 'done' }));
      const one = await locks(bench.queue).get('k-a');
      const none = await locks(bench.queue).get('k-x');
      gate.resolve();
      for (const job of jobs) await bench.ended(job);

      expect(found.map(({ key }) => key)).to.deep.equal(['k-*', 'k-a', 'k-b', 'k-c']);
      expect(some).to.have.length(1);
      expect(done.map(({ jobId }) => jobId)).to.deep.equal([quick.id]);
      expect(none).to.equal(undefined);
      for (const info of [some[0], one]) {
        expect(info).to.include({ key: 'k-a', state: 'running', storedKey: bench.storedName('k-a') });
        expect(info).to.include({ jobId: jobs[1]?.id, queue: bench.queue.qualifiedName });
        expect(info?.expiresIn).to.be.within(1, 60_000);
        expect(Math.abs(Date.now() - (info?.since ?? 0))).to.be.below(60_000);
      }
    });

    it('are let go of by hand: the holder is told, and the next runs', async () => {
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

      const evicted = [await locks(bench.queue).evict('k'), await locks(bench.queue).evict('k')];
      const second = await bench.add({ second: true });

      expect(evicted).to.deep.equal([true, false]);
      expect(await bench.result(second)).to.equal('second');
      expect(await aborted.promise).to.include({ code: 'ERR_LOCK_LOST', why: 'taken-over' });
      expect(await bench.result(first)).to.equal('first');
    });
  });
}

describe('the locks of a cache', () => {
  it('are those of all queues and scopes in it, told apart', async () => {
    const cache = new MemoryCache();
    const held = await Promise.all([
      new Lock('a', { cache, scope: 'x:y%' }).acquire(),
      new Lock('once:1:b', { cache }).acquire(),
    ]);
    const bench = await Bench.open();
    const started = deferred();
    const gate = deferred();
    const processor = onceProcessor(
      async () => {
        started.resolve();
        await gate.promise;
      },
      { key: 'c::once:1:d', cache },
    );
    await bench.worker(processor);
    const job = await bench.add({});
    await started.promise;

    const found = await all(locks(cache).list());
    const scoped = await all(locks(cache, { scope: 'x:y%' }).list());
    const ofQueue = await all(locks(bench.queue, { cache }).list());
    gate.resolve();
    await bench.ended(job);
    for (const lock of held) await lock.release();

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

  it('of a queue are where the registry says', async () => {
    const bench = await Bench.open();
    const cache = new MemoryCache();
    const lock = await new Lock('k', { cache }).acquire();
    caches.set(bench.queueName, cache);

    const found = await all(locks(bench.queue, { scope: 'default' }).list());
    caches.delete(bench.queueName);

    expect(found.map(({ key }) => key)).to.deep.equal(['k']);
    await lock.release();
    await bench.close();
  });

  it('of a Redis are found among much else, of which nothing is told', async () => {
    const redis = connectRedis();
    const cache = new RedisCache(redis);
    const scope = uniqueName('scope');
    await Promise.all(Array.from({ length: 2000 }, (_, i) => redis.set(`${scope}:${i}`, 'else', 'EX', 60)));
    const held = await Promise.all(
      Array.from({ length: 300 }, (_, i) => new Lock(`k-${i}`, { cache, scope }).acquire()),
    );
    await redis.set(`once:1:${scope}:foreign`, 'no lock', 'EX', 60);

    const found = await all(locks(cache, { scope }).list());
    const foreign = await locks(cache, { scope }).get('foreign');
    const evicted = await locks(cache, { scope }).evict('foreign');
    for (const lock of held) await lock.release();

    expect(new Set(found.map(({ key }) => key)).size).to.equal(301);
    expect(foreign).to.include({ state: 'foreign', owner: '' });
    expect(evicted).to.equal(false);
    expect(await redis.get(`once:1:${scope}:foreign`)).to.equal('no lock');
    redis.disconnect();
  });

  it('of a whole Redis Cluster are found on all of its servers', async () => {
    const client = (await sharedCluster()).connect();
    const cache = new RedisCache(client as never);
    const keys = Array.from({ length: 60 }, (_, i) => `${uniqueName()}-${i}`);
    const held = await Promise.all(keys.map(key => new Lock(key, { cache }).acquire()));

    const found = await all(locks(cache, { scope: 'default' }).list());
    for (const lock of held) await lock.release();

    expect(found.map(({ key }) => key)).to.include.members(keys);
    client.disconnect();
  });

  it('tell whoever waits when they are let go of by hand', async () => {
    const redis = connectRedis();
    const cache = new RedisCache(redis);
    const key = uniqueName('k');
    await new Lock(key, { cache, ttl: 600_000 }).acquire();
    const waiting = new Lock(key, { cache });
    const waits = waiting.acquire({ waitFor: 60_000 });
    await until(async () => (await redis.get(`once:1:default:${key}`))?.includes('awaited'));

    await locks(cache).evict(key);
    await until(() => waiting.held, 'who waits has it', 4000);

    await (await waits).release();
    redis.disconnect();
  });

  it("can't be listed where the cache can't, and says so", async () => {
    const store = { get: () => undefined, set: () => {}, delete: () => {} };

    const error = await rejection(all(locks(store).list()));

    expect(error.message).to.equal("locks: this cache can't list its locks: it has no method 'list'");
    expect(() => locks('nobody')).to.throw(TypeError, "no cache is named 'nobody'");
    expect(() => locks(undefined as never)).to.throw(TypeError, 'must be a cache');
  });
});
