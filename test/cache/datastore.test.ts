/** Those who wait for a key of one datastore stand in one wait queue in a process, whichever connections they come by; those of two do not. */

import { setTimeout as delay } from 'node:timers/promises';
import { GlideClient, Logger } from '@valkey/valkey-glide';
import { createValkeyGlideClient } from 'bullmq';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import { Redis as Redis5 } from 'ioredis5';
import pg from 'pg';
import { createClient } from 'redis';
import { Lock, type LockCache, RedisCache } from '../../src/index.ts';
import { PostgresCache } from '../../src/postgres.ts';
import { redisOptions, redisUrl, uniqueName } from '../support/index.ts';
import { RedisServer } from '../support/redis-server.ts';
import { sharedPostgres } from '../support/shared-servers.ts';

// It warns of each connection that is closed.
Logger.setLoggerConfig('off');

const closes: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closes.splice(0).reverse()) await close();
});

/** Connections to the Redis of this run, written in all the ways in which one can write it. */
const WAYS: Readonly<Record<string, () => Promise<RedisCache>>> = {
  'ioredis with host and port': async () => ofIoredis(new Redis(redisOptions())),
  'ioredis with a URL': async () => ofIoredis(new Redis(redisUrl())),
  'ioredis with localhost': async () => ofIoredis(new Redis({ ...redisOptions(), host: 'localhost' })),
  'ioredis 5': async () => ofIoredis(new Redis5(redisOptions()) as never),
  'node-redis with a URL': () => ofNodeRedis({ url: redisUrl() }),
  'node-redis with a socket': () => ofNodeRedis({ socket: redisOptions() }),
  'Valkey GLIDE': async () => new RedisCache(await connectGlide(redisOptions())),
  "BullMQ's wrapper of Valkey GLIDE": () => ofWrappedGlide(redisOptions()),
};

interface Address {
  readonly host: string;
  readonly port: number;
}

async function connectGlide(address: Address, databaseId = 0): Promise<GlideClient> {
  const client = await GlideClient.createClient({ addresses: [address], databaseId });
  closes.push(() => client.close());
  return client;
}

async function ofWrappedGlide(address: Address, databaseId = 0): Promise<RedisCache> {
  return new RedisCache(createValkeyGlideClient((await connectGlide(address, databaseId)) as never) as never);
}

function ofIoredis(client: Redis): RedisCache {
  closes.push(() => client.disconnect());
  return new RedisCache(client);
}

async function ofNodeRedis(options: object): Promise<RedisCache> {
  const client = createClient(options as { url: string });
  client.on('error', () => {});
  await client.connect();
  closes.push(() => client.destroy());
  return new RedisCache(client as never);
}

describe('The waiters of one process for one key', () => {
  for (const [name, way] of Object.entries(WAYS)) {
    it(`are served in the order in which they came, by ioredis and by ${name} in turns`, async () => {
      const first = await (WAYS['ioredis with host and port'] as () => Promise<RedisCache>)();

      expect(await servedInTurn([first, await way()])).to.deep.equal([0, 1, 2, 3, 4, 5, 6, 7]);
    });
  }

  it('are served in the order in which they came, by two clients of Valkey GLIDE', async () => {
    const caches = await Promise.all(
      [1, 2].map(async () => new RedisCache(await connectGlide(redisOptions()))),
    );

    expect(await servedInTurn(caches)).to.deep.equal([0, 1, 2, 3, 4, 5, 6, 7]);
  });

  it('are served in the order in which they came, by two pools on one PostgreSQL', async () => {
    const { url, port } = await sharedPostgres();
    const pools = [
      new pg.Pool({ connectionString: url }),
      new pg.Pool({ host: '127.0.0.1', port, user: 'postgres', database: 'postgres' }),
      new pg.Pool({ connectionString: url, application_name: 'another', max: 2 }),
    ];
    closes.push(() => Promise.all(pools.map(pool => pool.end())));

    const served = await servedInTurn(pools.map(pool => new PostgresCache(pool)));

    expect(served).to.deep.equal([0, 1, 2, 3, 4, 5, 6, 7]);
  });

  it('do not wait for those of another database of one Redis', async () => {
    const [one, other] = [0, 1].map(db => ofIoredis(new Redis({ ...redisOptions(), db }))) as [
      RedisCache,
      RedisCache,
    ];

    await doesNotWait(one, other);
  });

  it("do not wait for those of another server (BullMQ's wrapper of Valkey GLIDE)", async () => {
    const server = await RedisServer.start();
    closes.push(() => server.stop());
    const another = { host: '127.0.0.1', port: server.port };

    await doesNotWait(await ofWrappedGlide(redisOptions()), await ofWrappedGlide(another));
  });

  it("do not wait for those of another database of one Redis (BullMQ's wrapper of Valkey GLIDE)", async () => {
    await doesNotWait(await ofWrappedGlide(redisOptions(), 1), await ofWrappedGlide(redisOptions(), 2));
  });

  it('do not wait for those of another server (node-redis)', async () => {
    const server = await RedisServer.start();
    closes.push(() => server.stop());

    await doesNotWait(await ofNodeRedis({ url: redisUrl() }), await ofNodeRedis({ url: server.url }));
  });

  it('do not wait for those of another schema of one PostgreSQL', async () => {
    const pool = new pg.Pool({ connectionString: (await sharedPostgres()).url });
    closes.push(() => pool.end());

    await doesNotWait(new PostgresCache(pool), new PostgresCache(pool, { schema: 'other_locks' }));
  });

  it('do not wait for those of another database of one PostgreSQL (each pool names only its user, and has its database)', async () => {
    const { url, port } = await sharedPostgres();
    const admin = new pg.Pool({ connectionString: url });
    closes.push(() => admin.end());
    const roles = [1, 2].map(() => uniqueName('tenant').replaceAll('-', '_'));
    for (const role of roles) {
      await admin.query(`CREATE ROLE ${role} LOGIN`);
      await admin.query(`CREATE DATABASE ${role} OWNER ${role}`);
    }
    const [one, other] = roles.map(user => new pg.Pool({ host: '127.0.0.1', port, user })) as [
      pg.Pool,
      pg.Pool,
    ];
    closes.push(() => Promise.all([one.end(), other.end()]));

    await doesNotWait(new PostgresCache(one), new PostgresCache(other));
  });
});

describe("The name of a cache's datastore", () => {
  it('contains no password', () => {
    const named = [
      new RedisCache(new Redis('redis://user:secret@127.0.0.1:1/2', { lazyConnect: true })),
      new RedisCache(createClient({ url: 'redis://user:secret@127.0.0.1:1/2' }) as never),
      new RedisCache(createClient({ username: 'user', password: 'secret' }) as never),
      new PostgresCache(new pg.Pool({ connectionString: 'postgres://user:secret@127.0.0.1:1/db' })),
    ];

    expect(named.map(({ datastore }) => datastore).filter(name => name?.includes('secret'))).to.deep.equal(
      [],
    );
  });
});

/** Eight waiters, which come by these caches in turns. @returns in which order they were served. */
async function servedInTurn(caches: readonly LockCache[]): Promise<number[]> {
  const key = uniqueName('k');
  const lockOf = (i: number) => new Lock(key, { cache: caches[i % caches.length] as LockCache });
  const holder = await lockOf(0).acquire();
  const served: number[] = [];
  const all = Array.from({ length: 8 }, (_, i) =>
    lockOf(i).run(
      async () => {
        served.push(i);
        await delay(5);
      },
      { waitFor: 20_000 },
    ),
  );
  await delay(200);
  await holder.release();
  await Promise.all(all);
  return served;
}

/** A key is held in one datastore and waited for. In the other it is free. */
async function doesNotWait(one: LockCache, other: LockCache): Promise<void> {
  const key = uniqueName('k');
  const holder = await new Lock(key, { cache: one }).acquire();
  const waiting = new Lock(key, { cache: one }).acquire({ waitFor: 20_000 });
  await delay(50);

  const startedAt = performance.now();
  const handle = await new Lock(key, { cache: other }).acquire({ waitFor: 2000 });

  expect(handle.held).to.equal(true);
  expect(performance.now() - startedAt, 'ms until the free key was acquired').to.be.below(1000);
  await Promise.all([handle.release(), holder.release()]);
  await (await waiting).release();
}
