/** What becomes of locks where one server takes another's place: never is a lease lost in silence. */

import { type ConnectionOptions, Queue, QueueEvents, Worker } from 'bullmq';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import { type HeldLock, Lock, onceProcessor, RedisCache } from '../../src/index.ts';
import { claim, lease } from '../support/claims.ts';
import { deferred, uniqueName, until } from '../support/index.ts';
import { RedisCluster } from '../support/redis-cluster.ts';
import { RedisSentinel } from '../support/redis-sentinel.ts';
import type { RedisServer } from '../support/redis-server.ts';

/**
 * Long enough for a fail-over and a renewal after it. It takes these servers two to four seconds, and as much as six more where their
 * votes are split and they elect again.
 */
const TTL = 18_000;

describe('a fail-over by sentinels while a lock is held', () => {
  let sentinel: RedisSentinel;
  beforeEach(async () => {
    sentinel = await RedisSentinel.start();
  });
  afterEach(() => sentinel.stop());

  it('ends in a renewed lease, where the replica had it', async () => {
    const client = sentinel.connect();
    const held = await take('k', client);
    await client.wait(1, 10_000);

    await sentinel.failOver();
    const master = new Redis(sentinel.replica.port);
    const left = await master.pttl('once:1:default:k');
    await until(async () => (await master.pttl('once:1:default:k')) > left);

    expect(held.held).to.equal(true);
    expect(held.signal.aborted).to.equal(false);
    expect(JSON.parse((await master.get('once:1:default:k')) as string).fence).to.equal(held.fence);
    expect(await held.release()).to.equal(true);
    expect(await master.exists('once:1:default:k')).to.equal(0);
    master.disconnect();
    client.disconnect();
  });

  it('aborts the signal, where the replica had not received the lease', async () => {
    const client = sentinel.connect();
    await client.ping();
    await client.config('SET', 'requirepass', 'the replica does not know');
    await client.call('CLIENT', 'KILL', 'TYPE', 'replica');
    const held = await take('k', client);
    const aborted = deferred();
    held.signal.addEventListener('abort', () => aborted.resolve());

    await sentinel.failOver();
    await aborted.promise;

    expect(held.held).to.equal(false);
    expect(held.signal.reason).to.include({ code: 'ERR_LOCK_LOST', why: 'taken-over' });
    client.disconnect();
  });

  it('is survived by a worker: its job goes on under its lock, and duplicates are skipped after it', async () => {
    const name = uniqueName();
    const connection = sentinel.options as ConnectionOptions;
    const queue = new Queue(name, { connection });
    const events = new QueueEvents(name, { connection });
    const gate = deferred();
    const started = deferred<HeldLock>();
    const processor = onceProcessor(
      async (_job, _token, _signal, lock) => {
        started.resolve(lock);
        await gate.promise;
        return lock.held;
      },
      { key: 'k', ttl: TTL },
    );
    const worker = new Worker(name, processor, { connection, concurrency: 2, lockDuration: 60_000 });
    for (const one of [queue, events, worker] as Queue[]) one.on('error', () => {});
    await events.waitUntilReady();

    const job = await queue.add('job', {});
    const lock = await started.promise;
    await sentinel.failOver();
    const duplicate = await queue.add('job', {});
    const ofDuplicate = await duplicate.waitUntilFinished(events, 60_000);
    const heldThen = lock.held;
    gate.resolve();
    const ofJob = await job.waitUntilFinished(events, 60_000);

    expect(ofDuplicate).to.equal(null);
    expect([heldThen, ofJob]).to.deep.equal([true, true]);
    await Promise.all([worker.close(), queue.close(), events.close()]);
  });
});

describe('a Redis Cluster', () => {
  let cluster: RedisCluster;
  let client: ReturnType<RedisCluster['connect']>;
  let cache: RedisCache;
  before(async () => {
    cluster = await RedisCluster.start({ replicas: true });
    client = cluster.connect();
    cache = new RedisCache(client as never);
  });
  after(async () => {
    client.disconnect();
    await cluster.stop();
  });

  const calls = async () => {
    const stats = await Promise.all(cluster.masters.map(master => master.info('commandstats')));
    const counts = stats.flatMap(text => [
      ...String(text).matchAll(/cmdstat_eval(?:sha)?:calls=(\d+),.*failed_calls=(\d+)/g),
    ]);
    return counts.reduce((sum, [, all, failed]) => sum + Number(all) - Number(failed), 0);
  };

  it('is asked in one call about keys of one hash tag, and key by key about others', async () => {
    const tagged = Array.from({ length: 60 }, (_, i) => claim({ key: `{emails}:${i}` }));
    const untagged = Array.from({ length: 60 }, () => claim());
    await cache.acquire([claim({ key: '{emails}:first' })]);

    const before = await calls();
    const verdicts = await cache.acquire(tagged);
    const afterTagged = await calls();
    await cache.acquire(untagged);
    const afterUntagged = await calls();

    expect(verdicts.every(verdict => 'taken' in verdict && verdict.taken)).to.equal(true);
    expect(afterTagged - before).to.equal(1);
    expect(afterUntagged - afterTagged).to.equal(60);
  });

  it('is understood where the client does not tell that it is one', async () => {
    // Such is a proxy in front of a cluster, and BullMQ's adapter of a node-redis cluster.
    const silent = new Proxy(client, {
      get: (target, name) => (name === 'isCluster' ? undefined : Reflect.get(target, name)),
    });
    const cache = new RedisCache(silent as never);
    const claims = Array.from({ length: 30 }, () => claim());
    const others = Array.from({ length: 30 }, () => claim());

    const verdicts = await Promise.all([cache.acquire(claims), cache.acquire(others)]);
    const holders = await new RedisCache(silent as never).inspect(claims.map(({ key }) => key));

    expect(verdicts.flat().filter(verdict => !('taken' in verdict) || !verdict.taken)).to.deep.equal([]);
    expect(holders.map(holder => holder?.owner)).to.deep.equal(claims.map(({ owner }) => owner));
  });

  it('keeps a lock where it is while its slot moves to another master', async () => {
    const held = claim();
    await cache.acquire([held]);
    const slot = Number(await client.cluster('KEYSLOT', held.key));
    const [from, to] = await mastersOf(slot);
    const [fromId, toId] = await Promise.all(
      [from, to].map(async one => String(await one.call('CLUSTER', 'MYID'))),
    );

    await to.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', fromId as string);
    await from.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', toId as string);
    const whileMoving = await cache.renew([lease(held)]);
    await from.call('MIGRATE', '127.0.0.1', to.port, '', 0, 5000, 'KEYS', held.key);
    const whenMoved = await cache.acquire([claim({ key: held.key })]);
    for (const master of [to, from]) await master.call('CLUSTER', 'SETSLOT', slot, 'NODE', toId as string);
    const afterwards = await cache.renew([lease(held)]);
    const released = await cache.release([lease(held)]);

    expect(whileMoving).to.deep.equal([true]);
    expect(whenMoved[0]).to.include({ taken: false });
    expect([afterwards, released]).to.deep.equal([[true], [true]]);
  });

  it('loses a master while a lock is held there: it is renewed by its replica', async () => {
    const held = await take('k of a lost master', client);
    const name = 'once:1:default:k of a lost master';
    const [master] = await mastersOf(Number(await client.cluster('KEYSLOT', name)));
    expect(cluster.masters, 'no master was replaced before').to.include(master);
    const replica = cluster.replicas[cluster.masters.indexOf(master)] as RedisServer;
    const slot = Number(await client.cluster('KEYSLOT', name));
    await until(async () => {
      // Other tests' keys may share the slot.
      const there = await replica.call('CLUSTER', 'GETKEYSINSLOT', slot, 1000);
      return (there as string[]).includes(name);
    }, `the replica on port ${replica.port} has the key`);

    await master.kill();
    await until(async () => String(await replica.call('ROLE')).startsWith('master'));
    const left = await client.pttl(name);
    await until(async () => (await client.pttl(name)) > left);

    expect(held.held).to.equal(true);
    expect(held.signal.aborted).to.equal(false);
    expect(await held.release()).to.equal(true);
  });

  /** The master that has a slot, and another. */
  async function mastersOf(slot: number): Promise<[RedisServer, RedisServer]> {
    const ranges = (await client.cluster('SLOTS')) as unknown as [number, number, [string, number]][];
    const port = ranges.find(([first, last]) => first <= slot && slot <= last)?.[2][1];
    const has = cluster.masters.find(master => master.port === port) as RedisServer;
    const other = cluster.masters.find(master => master !== has) as RedisServer;
    return [has, other];
  }
});

async function take(key: string, client: unknown): Promise<Lock> {
  const lock = new Lock(key, { cache: new RedisCache(client as Redis), ttl: TTL });
  expect(await lock.tryAcquire(), `'${key}' was taken`).to.equal(true);
  return lock;
}
