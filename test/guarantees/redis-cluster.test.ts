/** Locks in a Redis Cluster: batches that span slots, slots that move, a master that is lost. */

import { expect } from 'chai';
import { Lock, RedisCache } from '../../src/index.ts';
import { until } from '../support/index.ts';
import { RedisCluster } from '../support/redis-cluster.ts';
import type { RedisServer } from '../support/redis-server.ts';
import { acquireStep, releaseStep, renewStep } from '../support/steps.ts';

/** Long enough for a fail-over and a renewal after it, also where the nodes elect again. */
const TTL = 18_000;

describe('A RedisCache on a Redis Cluster', () => {
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

  const countCalls = () => cluster.countScriptCalls();
  const keysOf = (count: number, storedKey?: (i: number) => string) =>
    Array.from({ length: count }, (_, i) => acquireStep(storedKey ? { storedKey: storedKey(i) } : {}));

  it('sends one call for the keys of one hash tag', async () => {
    await cache.acquire([acquireStep({ storedKey: '{emails}:first' })]);

    const before = await countCalls();
    const results = await cache.acquire(keysOf(60, i => `{emails}:${i}`));

    expect(results.every(result => 'acquired' in result && result.acquired)).to.equal(true);
    expect((await countCalls()) - before).to.equal(1);
  });

  it('sends a call for each key that has no hash tag', async () => {
    await cache.acquire([acquireStep()]);

    const before = await countCalls();
    const results = await cache.acquire(keysOf(60));

    expect(results.every(result => 'acquired' in result && result.acquired)).to.equal(true);
    expect((await countCalls()) - before).to.equal(60);
  });

  it('works where the client does not say that it is one of a cluster', async () => {
    // Such is a proxy in front of a cluster, and BullMQ's adapter of a node-redis cluster.
    const silent = new Proxy(client, {
      get: (target, name) => (name === 'isCluster' ? undefined : Reflect.get(target, name)),
    });
    const cache = new RedisCache(silent as never);
    const [steps, others] = [keysOf(30), keysOf(30)];

    const results = await Promise.all([cache.acquire(steps), cache.acquire(others)]);
    const records = await new RedisCache(silent as never).inspect(steps.map(({ storedKey }) => storedKey));

    expect(results.flat().filter(result => !('acquired' in result) || !result.acquired)).to.deep.equal([]);
    expect(records.map(record => record?.owner)).to.deep.equal(steps.map(({ owner }) => owner));
  });

  it('finds a lock while its slot moves to another master, and after', async () => {
    const step = acquireStep();
    await cache.acquire([step]);
    const move = await cluster.startMoving(step.storedKey);

    const whileMoving = await cache.renew([renewStep(step)]);
    await move.migrate([step.storedKey]);
    const whenMoved = await cache.acquire([acquireStep({ storedKey: step.storedKey })]);
    await move.finish();
    const afterwards = await cache.renew([renewStep(step)]);
    const released = await cache.release([releaseStep(step)]);

    expect(whileMoving).to.deep.equal([true]);
    expect(whenMoved[0]).to.include({ acquired: false });
    expect([afterwards, released]).to.deep.equal([[true], [true]]);
  });

  it('renews a lease on the replica when the master is lost', async () => {
    const handle = await new Lock('k of a lost master', { cache, ttl: TTL }).acquire();
    const storedKey = 'once::1:default:k of a lost master';
    const { slot, from: master } = await cluster.mastersFor(storedKey);
    const replica = cluster.replicas[cluster.masters.indexOf(master)] as RedisServer;
    await until(async () => {
      // Other tests' keys may share the slot.
      const there = await replica.call('CLUSTER', 'GETKEYSINSLOT', slot, 1000);
      return (there as string[]).includes(storedKey);
    }, `the replica on port ${replica.port} has the key`);

    await master.kill();
    await until(async () => String(await replica.call('ROLE')).startsWith('master'));
    const left = await client.pttl(storedKey);
    await until(async () => (await client.pttl(storedKey)) > left);

    expect(handle.held).to.equal(true);
    expect(handle.signal.aborted).to.equal(false);
    expect(await handle.release()).to.equal(true);
  });
});
