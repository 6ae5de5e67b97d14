/** Locks of one hash tag while their slot is half moved to another server of a cluster. */

import { setTimeout as delay } from 'node:timers/promises';
import { GlideClusterClient, Logger } from '@valkey/valkey-glide';
import { expect } from 'chai';
import { Cluster } from 'ioredis';
import { Cluster as Cluster5 } from 'ioredis5';
import { createCluster } from 'redis';
import { Lock, type LockEvent, type LockHandle, RedisCache } from '../../../src/index.ts';
import { RedisCluster } from '../../support/redis-cluster.ts';
import type { RedisServer } from '../../support/redis-server.ts';
import { acquireStep, releaseStep, renewStep } from '../../support/steps.ts';

// It warns of each connection that is closed.
Logger.setLoggerConfig('off');

const LOCKS = 20;
/** The clients try a refused call again by themselves, up to 4 s long. Only then does the cache learn of it. */
const TTL = 9000;
/** A lease whose renewals fail is lost by then. */
const HALF_MOVED_MS = 9000;

interface OpenClient {
  readonly cache: RedisCache;
  close(): unknown;
}

const CLIENTS: Readonly<Record<string, (cluster: RedisCluster) => Promise<OpenClient>>> = {
  'ioredis 6': async ({ nodes }) => openIoredis(new Cluster(nodes)),
  'ioredis 5': async ({ nodes }) => openIoredis(new Cluster5(nodes) as never),
  'ioredis with enableAutoPipelining': async ({ nodes }) =>
    openIoredis(new Cluster(nodes, { enableAutoPipelining: true })),
  'node-redis': async ({ nodes }) => {
    const client = createCluster({ rootNodes: nodes.map(socket => ({ socket })) });
    client.on('error', () => {});
    await client.connect();
    return { cache: new RedisCache(client as never), close: () => client.destroy() };
  },
  'Valkey GLIDE': async ({ nodes }) => {
    const client = await GlideClusterClient.createClient({ addresses: nodes, requestTimeout: 5000 });
    return { cache: new RedisCache(client), close: () => client.close() };
  },
};

function openIoredis(client: Cluster): OpenClient {
  client.on('error', () => {});
  return { cache: new RedisCache(client as never), close: () => client.disconnect() };
}

describe('Twenty locks of one hash tag whose slot is half moved', () => {
  let cluster: RedisCluster;
  before(async () => {
    cluster = await RedisCluster.start();
  });
  after(() => cluster.stop());

  it(`are renewed for seconds, and are all free when they are released (${Object.keys(CLIENTS).join(', ')})`, async () => {
    const tried = [];
    for (const [name, open] of Object.entries(CLIENTS)) {
      const client = await open(cluster);
      const tag = `{${name} renewed}`;
      const events: LockEvent[] = [];
      const onEvent = (event: LockEvent) => events.push(event);
      const locks = Array.from(
        { length: LOCKS },
        (_, i) => new Lock(`${tag}${i}`, { cache: client.cache, ttl: TTL, onEvent }),
      );
      const handles = await Promise.all(locks.map(lock => lock.acquire()));
      const move = await startMoving(tag);
      await move.keys(LOCKS / 2);
      tried.push({ name, client, tag, events, handles, move });
    }
    await delay(HALF_MOVED_MS);

    const outcomes = await Promise.all(
      tried.map(async ({ name, tag, events, handles }) => {
        const held = handles.filter(handle => handle.held).length;
        const released = await Promise.all(handles.map(handle => handle.release()));
        const left = await storedUnder(tag);
        const lost = events.filter(({ type }) => type === 'lost').length;
        return [name, { held, released: released.filter(Boolean).length, left: left.length, lost }];
      }),
    );
    for (const { client, move } of tried) {
      await move.finish();
      await client.close();
    }

    const well = { held: LOCKS, released: LOCKS, left: 0, lost: 0 };
    expect(Object.fromEntries(outcomes)).to.deep.equal(
      Object.fromEntries(Object.keys(CLIENTS).map(name => [name, well])),
    );
  });

  for (const [name, open] of Object.entries(CLIENTS)) {
    describe(`by ${name}`, () => {
      let client: OpenClient;
      beforeEach(async () => {
        client = await open(cluster);
      });
      afterEach(() => client.close());

      it('are acquired while half of them are held, and on both servers', async () => {
        const tag = `{${name} acquired}`;
        const early = await acquireAll(tag, 0, LOCKS / 2);
        const move = await startMoving(tag);
        await move.keys(LOCKS / 4);

        const late = await acquireAll(tag, LOCKS / 2, LOCKS);
        const refused = await Promise.all(
          Array.from({ length: LOCKS }, (_, i) => lockOf(tag, i).tryAcquire()),
        );
        const released = await Promise.all([...early, ...late].map(handle => handle.release()));
        const left = await storedUnder(tag);
        await move.finish();

        expect(refused.filter(handle => handle !== undefined)).to.deep.equal([]);
        expect(released).to.deep.equal(released.map(() => true));
        expect(left).to.deep.equal([]);
      });

      it('are answered in their order, whatever was moved (batches of all three verbs)', async () => {
        const steps = Array.from({ length: LOCKS }, (_, i) =>
          acquireStep({ storedKey: `once:1:default:{${name} mixed}${i}` }),
        );
        const [toRelease, toRenew, toAcquire] = [steps.slice(0, 7), steps.slice(7, 14), steps.slice(14)];
        await client.cache.acquire([...toRelease, ...toRenew]);
        const move = await startMoving(`{${name} mixed}`);
        await move.keys(7);

        const stranger = acquireStep({ storedKey: (toRenew[0] as { storedKey: string }).storedKey });
        const results = await client.cache.exchange({
          releases: [...toRelease, stranger].map(step => releaseStep(step)),
          renewals: [...toRenew, stranger].map(renewStep),
          acquisitions: [...toAcquire, stranger],
        });
        const records = await client.cache.inspect(steps.map(({ storedKey }) => storedKey));
        const forced = await client.cache.forceRelease(steps.map(({ storedKey }) => ({ storedKey })));
        await move.finish();

        expect(results.released).to.deep.equal([...toRelease.map(() => true), false]);
        expect(results.renewed).to.deep.equal([...toRenew.map(() => true), false]);
        expect(results.acquired.map(one => 'acquired' in one && one.acquired)).to.deep.equal([
          ...toAcquire.map(() => true),
          false,
        ]);
        expect(records.map(record => record?.owner)).to.deep.equal([
          ...toRelease.map(() => undefined),
          ...[...toRenew, ...toAcquire].map(({ owner }) => owner),
        ]);
        expect(forced).to.deep.equal([...toRelease.map(() => false), ...steps.slice(7).map(() => true)]);
      });

      const lockOf = (tag: string, i: number) => new Lock(`${tag}${i}`, { cache: client.cache, ttl: 30_000 });
      const acquireAll = (tag: string, from: number, to: number): Promise<LockHandle[]> =>
        Promise.all(Array.from({ length: to - from }, (_, i) => lockOf(tag, from + i).acquire()));
    });
  }

  /** Begins to move the slot of a hash tag to another server. Half moved, it stays where it is until it is finished. */
  async function startMoving(tag: string) {
    const [first] = cluster.masters as [RedisServer, RedisServer, RedisServer];
    const slot = Number(await first.call('CLUSTER', 'KEYSLOT', tag));
    const ranges = (await first.call('CLUSTER', 'SLOTS')) as [number, number, [string, number]][];
    const port = ranges.find(([from, to]) => from <= slot && slot <= to)?.[2][1];
    const source = cluster.masters.find(master => master.port === port) as RedisServer;
    const target = cluster.masters.find(master => master !== source) as RedisServer;
    const [sourceId, targetId] = await Promise.all(
      [source, target].map(async server => String(await server.call('CLUSTER', 'MYID'))),
    );
    await target.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', sourceId as string);
    await source.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', targetId as string);
    const migrate = async (count: number) => {
      const keys = (await source.call('CLUSTER', 'GETKEYSINSLOT', slot, count)) as string[];
      if (keys.length === 0) return;
      await source.call('MIGRATE', '127.0.0.1', target.port, '', 0, 5000, 'KEYS', ...keys);
    };
    return {
      keys: migrate,
      async finish() {
        await migrate(1000);
        for (const server of [target, source]) {
          await server.call('CLUSTER', 'SETSLOT', slot, 'NODE', targetId as string);
        }
      },
    };
  }

  /** The keys of a hash tag that any of the servers has. */
  async function storedUnder(tag: string): Promise<string[]> {
    const all = await Promise.all(cluster.masters.map(master => master.call('KEYS', `*${tag}*`)));
    return (all as string[][]).flat();
  }
});
