/** Opens the cache that the command line names. */

import type { LockCache } from '../cache/contract.ts';
import { PostgresCache } from '../cache/postgres/postgres-cache.ts';
import { RedisCache } from '../cache/redis/redis-cache.ts';
import type { Where } from './arguments.ts';

export interface Connected {
  readonly cache: LockCache;
  close(): unknown;
}

/** How long it may take to connect, in ms. */
const PATIENCE = 5000;

/**
 * Connects, or fails soon: nobody waits for a command line.
 * @throws Error it can't be reached, or its client is not installed.
 */
export function connect(where: Where): Promise<Connected> {
  return 'redis' in where ? connectRedis(where) : connectPostgres(where);
}

async function connectRedis({ redis: url, cluster }: Extract<Where, { redis: string }>): Promise<Connected> {
  const { Redis, Cluster } = await installed('ioredis', () => import('ioredis'));
  const options = { connectTimeout: PATIENCE, maxRetriesPerRequest: 1, retryStrategy: () => null };
  const client = cluster
    ? new Cluster([url], { redisOptions: options, clusterRetryStrategy: () => null, lazyConnect: true })
    : new Redis(url, { ...options, lazyConnect: true });
  let problem: Error | undefined;
  client.on('error', error => {
    problem ??= error;
  });
  try {
    await client.connect();
  } catch (error) {
    client.disconnect();
    throw problem ?? error;
  }
  return { cache: new RedisCache(client as never), close: () => client.disconnect() };
}

async function connectPostgres({
  postgres,
  schema,
}: Extract<Where, { postgres: string }>): Promise<Connected> {
  const { default: pg } = await installed('pg', () => import('pg'));
  const pool = new pg.Pool({ connectionString: postgres, max: 1, connectionTimeoutMillis: PATIENCE });
  pool.on('error', () => {});
  try {
    await pool.query('SELECT 1');
  } catch (error) {
    await pool.end();
    throw error;
  }
  return { cache: new PostgresCache(pool, schema === undefined ? {} : { schema }), close: () => pool.end() };
}

async function installed<Module>(name: string, load: () => Promise<Module>): Promise<Module> {
  try {
    return await load();
  } catch (error) {
    const { code } = error as { code?: string };
    if (code !== 'ERR_MODULE_NOT_FOUND' && code !== 'MODULE_NOT_FOUND') throw error;
    throw new Error(`the client '${name}' is not installed here: npm install ${name}`, { cause: error });
  }
}
