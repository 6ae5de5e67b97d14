/** Every cache that the conformance suite is run on, each on a store of its own. */

import KeyvRedis from '@keyv/redis';
import { GlideClient, GlideClusterClient } from '@valkey/valkey-glide';
import { createValkeyGlideClient, Queue } from 'bullmq';
import { Queue as Queue5 } from 'bullmq5';
import { createCache } from 'cache-manager';
import Keyv from 'keyv';
import { LRUCache } from 'lru-cache';
import pg from 'pg';
import { createClient, createCluster } from 'redis';
import type { KeyValueStore } from '../../src/cache/key-value.ts';
import { MemoryCache } from '../../src/cache/memory.ts';
import { PostgresCache } from '../../src/cache/postgres/postgres-cache.ts';
import type { RedisClient } from '../../src/cache/redis/client.ts';
import { RedisCache } from '../../src/cache/redis/redis-cache.ts';
import { toLockCache } from '../../src/cache/registry.ts';
import type { CreatedCache, GuaranteeName } from '../../src/conformance/suite.ts';
import { connectRedis, GLIDE_OPTIONS, nextTurn, redisOptions, redisUrl, uniqueName } from './index.ts';
import { KeyvSqlite } from './keyv-sqlite.ts';
import { RedisServer } from './redis-server.ts';
import { sharedCluster, sharedPglite, sharedPostgres } from './shared-servers.ts';

/** A cache under test. */
export interface CacheEntry {
  readonly name: string;
  /** Its row in the table of docs/caches.md. */
  readonly row: string;
  readonly create: () => Promise<CreatedCache>;
  readonly guarantees?: { readonly [name in GuaranteeName]?: false };
}

/** A store with `get`, `set` and `delete` can't decide atomically, so it excludes within one process only. */
const OF_ONE_PROCESS = { acrossInstances: false } as const;
/** It belongs to one process, and is never unreachable. */
const IN_MEMORY = { acrossInstances: false, outages: false } as const;
/** It has no method `keys`. */
const UNLISTED = { listing: false } as const;
/** Only locks write to the table. */
const A_TABLE = { foreignValues: false } as const;

export const inMemory: readonly CacheEntry[] = [
  {
    name: 'MemoryCache',
    row: '`MemoryCache`',
    guarantees: { ...IN_MEMORY, foreignValues: false },
    create: async () => ({ cache: new MemoryCache() }),
  },
];

export const onRedisServers: readonly CacheEntry[] = [
  redis('ioredis', async () => {
    const client = connectRedis();
    return { client, close: () => client.disconnect() };
  }),
  redis('node-redis', async () => {
    const client = await createClient({ url: redisUrl() }).connect();
    return { client, close: () => client.isOpen && client.destroy() };
  }),
  redis('Valkey GLIDE', async () => {
    const client = await GlideClient.createClient({ addresses: [glideAddress()], ...GLIDE_OPTIONS });
    return { client: client as RedisClient, close: () => client.close() };
  }),
  redis('ioredis behind BullMQ 6', async () => {
    const queue = new Queue(uniqueName(), { connection: redisOptions() });
    return { client: await clientOf(queue), close: () => queue.close() };
  }),
  redis('node-redis behind BullMQ 6', async () => {
    const raw = createClient({ url: redisUrl() });
    const queue = new Queue(uniqueName(), { connection: raw as never });
    return {
      client: await clientOf(queue),
      async close() {
        await queue.close();
        if (raw.isOpen) raw.destroy();
      },
    };
  }),
  redis('Valkey GLIDE behind BullMQ 6', async () => {
    const raw = await GlideClient.createClient({ addresses: [glideAddress()], ...GLIDE_OPTIONS });
    const queue = new Queue(uniqueName(), { connection: createValkeyGlideClient(raw as never) as never });
    return {
      client: await clientOf(queue),
      async close() {
        await queue.close();
        raw.close();
      },
    };
  }),
  redis('ioredis behind BullMQ 5', async () => {
    const queue = new Queue5(uniqueName(), { connection: redisOptions() });
    return { client: (await queue.client) as unknown as RedisClient, close: () => queue.close() };
  }),
];

export const onClusters: readonly CacheEntry[] = [
  cluster('ioredis', async () => {
    const client = (await sharedCluster()).connect();
    return { client: client as RedisClient, close: () => client.disconnect() };
  }),
  cluster('node-redis', async () => {
    const rootNodes = (await sharedCluster()).nodes.map(({ host, port }) => ({ socket: { host, port } }));
    const client = await createCluster({ rootNodes }).connect();
    return { client: client as never as RedisClient, close: () => client.isOpen && client.destroy() };
  }),
  cluster('Valkey GLIDE', async () => {
    const client = await GlideClusterClient.createClient({
      addresses: (await sharedCluster()).nodes,
      ...GLIDE_OPTIONS,
    });
    return { client: client as RedisClient, close: () => client.close() };
  }),
  cluster('ioredis behind BullMQ 6', async () => {
    const raw = (await sharedCluster()).connect();
    const queue = new Queue(uniqueName(), { connection: raw as never, prefix: '{bull}' });
    return {
      client: await clientOf(queue),
      async close() {
        await queue.close();
        raw.disconnect();
      },
    };
  }),
];

export const onPostgres: readonly CacheEntry[] = [
  postgres('a pool', async () => (await sharedPostgres()).url, {}),
  postgres('a pool of one connection', async () => (await sharedPostgres()).url, { max: 1 }),
  postgres('PGlite', async () => (await sharedPglite()).url, { max: 1 }),
];

export const onKeyValueStores: readonly CacheEntry[] = [
  keyValue('Map', '`Map`', async () => ({ store: new Map() }), IN_MEMORY),
  keyValue('lru-cache', 'lru-cache', async () => ({ store: new LRUCache({ max: 2500 }) }), {
    ...IN_MEMORY,
    retention: false,
  }),
  keyValue('Keyv in memory', 'Keyv in memory', async () => ({ store: new Keyv() }), {
    ...IN_MEMORY,
    ...UNLISTED,
  }),
  keyValue('cache-manager', 'cache-manager', async () => ({ store: createCache() }), {
    ...IN_MEMORY,
    ...UNLISTED,
  }),
  keyValue(
    'Keyv on SQLite',
    'Keyv on SQLite or Redis',
    async () => {
      const sqlite = new KeyvSqlite();
      // Without `throwOnErrors` Keyv emits an event for a failure, and answers as if nothing were stored.
      const store = new Keyv({ store: sqlite, throwOnErrors: true });
      return { store, outage: () => sqlite.close(), close: () => sqlite.close() };
    },
    { ...OF_ONE_PROCESS, ...UNLISTED },
  ),
  keyValue(
    'Keyv on Redis',
    'Keyv on SQLite or Redis',
    async () => {
      const server = await RedisServer.start();
      const client = createClient({ url: server.url });
      // The adapter hides failures too.
      const adapter = new KeyvRedis(client as never, { throwOnErrors: true });
      const store = new Keyv(adapter, { throwOnErrors: true });
      store.on('error', () => {});
      await store.get('a key, to connect');
      return {
        store,
        outage: () => server.kill(),
        async close() {
          if (client.isOpen) client.destroy();
          await server.stop();
        },
      };
    },
    { ...OF_ONE_PROCESS, ...UNLISTED },
  ),
  keyValue(
    'a class with asynchronous get, set and del',
    'your own class',
    async () => {
      const store = new SlowStore();
      return { store, outage: () => store.fail() };
    },
    { ...OF_ONE_PROCESS, ...UNLISTED },
  ),
];

export const allCaches: readonly CacheEntry[] = [
  ...inMemory,
  ...onRedisServers,
  ...onClusters,
  ...onPostgres,
  ...onKeyValueStores,
];

interface Connected {
  readonly client: RedisClient;
  close(): unknown;
}

/** Two caches on two connections. What is guaranteed between them is guaranteed between processes. */
function redis(client: string, connect: () => Promise<Connected>): CacheEntry {
  return onRedis(`RedisCache on ${client}`, connect, async () => {
    const plain = connectRedis();
    return { set: (key, value) => plain.set(key, value), close: () => plain.disconnect() };
  });
}

function cluster(client: string, connect: () => Promise<Connected>): CacheEntry {
  return onRedis(`RedisCache on a cluster (${client})`, connect, async () => {
    const plain = (await sharedCluster()).connect();
    return { set: (key, value) => plain.set(key, value), close: () => plain.disconnect() };
  });
}

function onRedis(
  name: string,
  connect: () => Promise<Connected>,
  connectPlain: () => Promise<{ set(key: string, value: string): unknown; close(): unknown }>,
): CacheEntry {
  return {
    name,
    row: '`RedisCache`',
    async create() {
      const [one, two, plain] = [await connect(), await connect(), await connectPlain()];
      return {
        cache: new RedisCache(one.client),
        other: new RedisCache(two.client),
        foreign: plain.set,
        outage: () => one.close(),
        async close() {
          await Promise.all([one.close(), two.close(), plain.close()]);
        },
      };
    },
  };
}

function postgres(name: string, start: () => Promise<string>, config: pg.PoolConfig): CacheEntry {
  return {
    name: `PostgresCache on ${name}`,
    row: '`PostgresCache`',
    guarantees: A_TABLE,
    async create() {
      const connectionString = await start();
      const pools = [1, 2].map(() => new pg.Pool({ connectionString, ...config }));
      // A step may be under way when the server stops.
      for (const pool of pools) pool.on('error', () => {});
      const [one, two] = pools as [pg.Pool, pg.Pool];
      const ended = new Set<pg.Pool>();
      const end = async (pool: pg.Pool) => {
        if (ended.has(pool)) return;
        ended.add(pool);
        await pool.end();
      };
      return {
        cache: new PostgresCache(one),
        other: new PostgresCache(two),
        outage: () => end(one),
        close: async () => {
          await Promise.all(pools.map(end));
        },
      };
    },
  };
}

/** All locks on one store share one cache, which runs the steps on a key one after another. */
function keyValue(
  name: string,
  row: string,
  create: () => Promise<{ store: KeyValueStore; outage?(): unknown; close?(): unknown }>,
  guarantees: CacheEntry['guarantees'] & {},
): CacheEntry {
  return {
    name: `KeyValueCache on ${name}`,
    row,
    guarantees,
    async create() {
      const { store, ...rest } = await create();
      return { cache: toLockCache(store, 'cache'), foreign: (key, value) => store.set(key, value), ...rest };
    },
  };
}

async function clientOf(queue: Queue): Promise<RedisClient> {
  return (await queue.backend.client) as unknown as RedisClient;
}

function glideAddress(): { host: string; port: number } {
  return redisOptions();
}

/** Other steps can run between its reads and its writes. */
class SlowStore {
  readonly #values = new Map<string, unknown>();
  #failed = false;

  fail(): void {
    this.#failed = true;
  }

  async get(key: string): Promise<unknown> {
    await this.#turn();
    return this.#values.get(key);
  }

  async set(key: string, value: unknown): Promise<void> {
    await this.#turn();
    this.#values.set(key, value);
  }

  async del(key: string): Promise<void> {
    await this.#turn();
    this.#values.delete(key);
  }

  async #turn(): Promise<void> {
    await nextTurn();
    if (this.#failed) throw new Error('the store is unreachable');
  }
}
