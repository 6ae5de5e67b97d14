/** The caches that get bad input, and all that their datastores store. */

import { GlideClient } from '@valkey/valkey-glide';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import Keyv from 'keyv';
import pg from 'pg';
import { createClient } from 'redis';
import { toLockCache } from '../../src/cache/registry.ts';
import { type LockCache, MemoryCache, RedisCache } from '../../src/index.ts';
import { PostgresCache } from '../../src/postgres.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { RedisServer } from '../support/redis-server.ts';

export interface Target {
  readonly name: string;
  readonly cache: LockCache;
  /** All that is stored. It must be the same before and after a check. */
  stored(): Promise<unknown>;
  close(): unknown;
}

/** One cache of each kind, with a value in its datastore that is not ours. */
export async function openTargets(): Promise<Target[]> {
  const map = new Map<string, unknown>([['canary', 'alive']]);
  const keyv = new Keyv();
  return [
    { name: 'MemoryCache', cache: new MemoryCache(), stored: async () => [], close: () => {} },
    {
      name: 'Map',
      cache: toLockCache(map as never, 'the map'),
      stored: async () => [...map],
      close: () => map.clear(),
    },
    { name: 'Keyv', cache: toLockCache(keyv as never, 'Keyv'), stored: async () => [], close: () => {} },
    ...(await openRedis()),
    ...(await openPostgres()),
  ];
}

/** Runs a check with each cache. Afterwards all must be stored that was, and nothing else. */
export async function checkEach(
  targets: readonly Target[],
  check: (cache: LockCache) => Promise<void>,
): Promise<void> {
  for (const { name, cache, stored } of targets) {
    const before = await stored();
    try {
      await check(cache);
    } catch (error) {
      throw new Error(`${name}: ${(error as Error).message}`, { cause: error });
    }
    expect(await stored(), name).to.deep.equal(before);
  }
}

async function openRedis(): Promise<Target[]> {
  const server = await RedisServer.start();
  const { port } = server;
  const redis = new Redis(port);
  await redis.set('canary', 'alive');
  const nodeRedis = await createClient({ url: server.url }).connect();
  const glide = await GlideClient.createClient({ addresses: [{ host: '127.0.0.1', port }] });
  const stored = async () => [(await redis.keys('*')).sort(), await redis.get('canary')];
  return [
    {
      name: 'Redis by node-redis',
      cache: new RedisCache(nodeRedis as never),
      stored,
      close: () => nodeRedis.destroy(),
    },
    { name: 'Redis by GLIDE', cache: new RedisCache(glide), stored, close: () => glide.close() },
    {
      name: 'Redis by ioredis',
      cache: new RedisCache(redis),
      stored,
      async close() {
        redis.disconnect();
        await server.stop();
      },
    },
  ];
}

async function openPostgres(): Promise<Target[]> {
  const server = await PostgresServer.start();
  const pool = new pg.Pool({ connectionString: server.url });
  await pool.query("CREATE TABLE canary AS SELECT 'alive' AS state");
  const cache = new PostgresCache(pool);
  // Creates its table.
  await cache.inspect(['k']);
  const tables = "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT LIKE 'pg_%' ORDER BY 1, 2";
  const sql = [tables, 'SELECT state FROM canary', 'SELECT key FROM bullmq.once_lock'];
  return [
    {
      name: 'PostgreSQL',
      cache,
      stored: () => Promise.all(sql.map(async text => (await pool.query(text)).rows)),
      async close() {
        await pool.end();
        await server.stop();
      },
    },
  ];
}
