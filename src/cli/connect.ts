/** Opens the cache in the datastore that the command line names. */

import type { LockCache } from '../cache/contract.ts';
import { PostgresCache } from '../cache/postgres/postgres-cache.ts';
import { RedisCache } from '../cache/redis/redis-cache.ts';
import type { Datastore, PostgresDatastore, RedisDatastore } from './datastore.ts';

export interface Connection {
  readonly cache: LockCache;
  close(): unknown;
}

const CONNECT_TIMEOUT_MS = 5000;

/**
 * Connects once: nobody wants a command line to retry.
 * @throws Error the datastore can't be reached, or its client is not installed.
 */
export function connect(datastore: Datastore): Promise<Connection> {
  return 'redis' in datastore ? connectRedis(datastore) : connectPostgres(datastore);
}

async function connectRedis({ redis: url, cluster }: RedisDatastore): Promise<Connection> {
  const { Redis, Cluster } = await importClient('ioredis', () => import('ioredis'));
  const options = { connectTimeout: CONNECT_TIMEOUT_MS, maxRetriesPerRequest: 1, retryStrategy: () => null };
  const client = cluster
    ? new Cluster([url], { redisOptions: options, clusterRetryStrategy: () => null, lazyConnect: true })
    : new Redis(url, { ...options, lazyConnect: true });
  // It says more than the rejection of connect(): 'connect ECONNREFUSED' instead of 'Connection is closed.'
  let cause: Error | undefined;
  client.on('error', error => {
    cause ??= error;
  });
  try {
    await client.connect();
  } catch (error) {
    client.disconnect();
    throw cause ?? error;
  }
  return { cache: new RedisCache(client as never), close: () => client.disconnect() };
}

async function connectPostgres({ postgres: url, schema }: PostgresDatastore): Promise<Connection> {
  const { default: pg } = await importClient('pg', () => import('pg'));
  const pool = new pg.Pool({ connectionString: url, max: 1, connectionTimeoutMillis: CONNECT_TIMEOUT_MS });
  pool.on('error', () => {});
  try {
    await pool.query('SELECT 1');
  } catch (error) {
    await pool.end();
    throw error;
  }
  return { cache: new PostgresCache(pool, schema === undefined ? {} : { schema }), close: () => pool.end() };
}

/** @throws Error it is not installed; the message says how to install it. */
async function importClient<Module>(name: string, load: () => Promise<Module>): Promise<Module> {
  try {
    return await load();
  } catch (error) {
    const { code } = error as { code?: string };
    if (code !== 'ERR_MODULE_NOT_FOUND' && code !== 'MODULE_NOT_FOUND') throw error;
    throw new Error(`the client '${name}' is not installed here: npm install ${name}`, { cause: error });
  }
}
