import { Queue } from 'bullmq';
import { Queue as Queue5 } from 'bullmq5';
import { createCache } from 'cache-manager';
import Keyv from 'keyv';
import { LRUCache } from 'lru-cache';
import { createClient } from 'redis';
import type { RedisClient } from '../../src/caches/redis-client.ts';
import { asLockCache, type Cache } from '../../src/caches/registry.ts';
import { MemoryCache, RedisCache } from '../../src/index.ts';
import { connectRedis, redisOptions, redisUrl, uniqueName } from '../support/index.ts';
import { type CacheUnderTest, testLockCache } from './contract.ts';

const cachesUnderTest: CacheUnderTest[] = [
  { name: 'MemoryCache', create: async () => shared(new MemoryCache()) },
  redis('ioredis', async () => {
    const client = connectRedis();
    return { client, close: () => client.disconnect() };
  }),
  redis('node-redis', async () => {
    const client = await createClient({ url: redisUrl() }).connect();
    return { client, close: () => client.destroy() };
  }),
  redis('ioredis behind BullMQ 6', async () => {
    const queue = new Queue(uniqueName(), { connection: redisOptions() });
    return { client: (await queue.backend.client) as unknown as RedisClient, close: () => queue.close() };
  }),
  redis('node-redis behind BullMQ 6', async () => {
    const raw = createClient({ url: redisUrl() });
    const queue = new Queue(uniqueName(), { connection: raw as never });
    return {
      client: (await queue.backend.client) as unknown as RedisClient,
      close: async () => {
        await queue.close();
        if (raw.isOpen) raw.destroy();
      },
    };
  }),
  redis('ioredis behind BullMQ 5', async () => {
    const queue = new Queue5(uniqueName(), { connection: redisOptions() });
    return { client: (await queue.client) as unknown as RedisClient, close: () => queue.close() };
  }),
  simple('Map', () => new Map()),
  simple('lru-cache', () => new LRUCache({ max: 100_000 })),
  simple('Keyv', () => new Keyv()),
  simple('cache-manager', () => createCache()),
  simple('a class with get, set and del that take a while', () => new SlowStore()),
];

describe('the contract of a cache', () => {
  for (const cache of cachesUnderTest) testLockCache(cache);
});

/** Two caches on two connections: what holds between them holds between processes. */
function redis(
  client: string,
  connect: () => Promise<{ client: RedisClient; close(): unknown }>,
): CacheUnderTest {
  return {
    name: `RedisCache on ${client}`,
    create: async () => {
      const [one, two] = [await connect(), await connect()];
      const plain = connectRedis();
      return {
        cache: new RedisCache(one.client),
        other: new RedisCache(two.client),
        foreign: async (key, value) => {
          await plain.set(key, value);
        },
        close: async () => {
          plain.disconnect();
          await Promise.all([one.close(), two.close()]);
        },
      };
    },
  };
}

/** A store can't decide atomically, so both share the one that serialises the steps of this process. */
function simple(
  name: string,
  create: () => Cache & { set(key: string, value: string): unknown },
): CacheUnderTest {
  return {
    name: `any store: ${name}`,
    create: async () => {
      const store = create();
      return {
        ...shared(asLockCache(store, 'cache')),
        foreign: async (key, value) => {
          await store.set(key, value);
        },
      };
    },
  };
}

function shared<T>(cache: T): { cache: T; other: T } {
  return { cache, other: cache };
}

/** Between its reads and its writes others get their turn. */
class SlowStore {
  readonly #values = new Map<string, unknown>();

  async get(key: string): Promise<unknown> {
    await pause();
    return this.#values.get(key);
  }

  async set(key: string, value: unknown): Promise<void> {
    await pause();
    this.#values.set(key, value);
  }

  async del(key: string): Promise<void> {
    await pause();
    this.#values.delete(key);
  }
}

function pause(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve));
}
