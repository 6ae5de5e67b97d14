/** Opens the cache in the datastore that the command line names. */

import type { LockCache } from '../cache/contract.ts';
import { DEFAULT_SCHEMA, quote } from '../cache/postgres/names.ts';
import type { PostgresCache } from '../cache/postgres/postgres-cache.ts';
import type { RedisClient } from '../cache/redis/client.ts';
import { RedisCache } from '../cache/redis/redis-cache.ts';
import type { Datastore, PostgresDatastore, RedisDatastore } from './datastore.ts';
import { NoSuchQueueError } from './no-such-queue-error.ts';
import { UsageError } from './usage-error.ts';

export interface Connection {
  readonly cache: LockCache;
  /**
   * Whether BullMQ has a queue in this datastore.
   * @param qualifiedName - with its prefix on Redis, without on PostgreSQL.
   */
  hasQueue(qualifiedName: string): Promise<boolean>;
  close(): unknown;
}

const CONNECT_TIMEOUT_MS = 5000;
/** Nothing that is asked takes a server long. */
const ANSWER_TIMEOUT_MS = 5000;

/**
 * Connects once: nobody wants a command line to retry.
 * @throws Error the datastore can't be reached, or its client is not installed.
 * @throws UsageError the URL or the schema is wrong.
 */
export async function connect(datastore: Datastore): Promise<Connection> {
  try {
    return await ('redis' in datastore ? connectRedis(datastore) : connectPostgres(datastore));
  } catch (error) {
    if (error instanceof URIError) throw new UsageError("the URL has a '%' that encodes nothing; write %25");
    throw error;
  }
}

/** What is needed of a connection to Redis. */
interface RedisConnection {
  readonly client: RedisClient;
  exists(name: string): Promise<number>;
  close(): unknown;
}

async function connectRedis(datastore: RedisDatastore): Promise<Connection> {
  const { client, exists, close } = (await connectIoredis(datastore)) ?? (await connectNodeRedis(datastore));
  return {
    cache: new RedisCache(client),
    async hasQueue(qualifiedName) {
      // A queue that only workers and flows know has no meta.
      const names = ['meta', 'id', 'events'].map(name => `${qualifiedName}:${name}`);
      const found = await Promise.all(names.map(exists));
      return found.includes(1);
    },
    close,
  };
}

/** @returns `undefined` where it is not installed. */
async function connectIoredis({ redis: url, cluster }: RedisDatastore): Promise<RedisConnection | undefined> {
  const ioredis = await importIfInstalled(() => import('ioredis'));
  if (!ioredis) return undefined;
  const { Redis, Cluster } = ioredis;
  const options = {
    connectTimeout: CONNECT_TIMEOUT_MS,
    commandTimeout: ANSWER_TIMEOUT_MS,
    maxRetriesPerRequest: 1,
    retryStrategy: () => null,
  };
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
  return {
    client: client as never,
    exists: name => client.exists(name),
    close: () => client.disconnect(),
  };
}

/** @throws Error neither client is installed. */
async function connectNodeRedis({ redis: url, cluster }: RedisDatastore): Promise<RedisConnection> {
  const redis = await importIfInstalled(() => import('redis'));
  if (!redis)
    throw new Error(
      'no client of Redis is installed here: npm install ioredis, or redis; for locks in PostgreSQL give --postgres <url>',
    );
  const socket = { connectTimeout: CONNECT_TIMEOUT_MS, reconnectStrategy: false } as const;
  const options = { socket, commandOptions: { timeout: ANSWER_TIMEOUT_MS } };
  const client = cluster
    ? redis.createCluster({ rootNodes: [{ url }], defaults: options })
    : redis.createClient({ url, ...options });
  client.on('error', () => {});
  await client.connect();
  return {
    client: client as never,
    exists: name => client.exists(name) as Promise<number>,
    // node-redis 4 has no `destroy`.
    close: () => (client.destroy ? client.destroy() : (client as { disconnect(): unknown }).disconnect()),
  };
}

/** There is no such table, or no such schema. */
const NOT_THERE_CODES = ['42P01', '3F000'];

async function connectPostgres({
  postgres: url,
  schema = DEFAULT_SCHEMA,
}: PostgresDatastore): Promise<Connection> {
  const installed = await importIfInstalled(() => import('pg'));
  if (!installed) throw new Error("the client 'pg' is not installed here: npm install pg");
  const { default: pg } = installed;
  const { PostgresCache } = await import('../cache/postgres/postgres-cache.ts');
  const pool = new pg.Pool({
    connectionString: url,
    max: 1,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: ANSWER_TIMEOUT_MS,
  });
  pool.on('error', () => {});
  const cache = parseSchema(() => new PostgresCache(pool, { schema }));
  try {
    const { rows } = await pool.query('SELECT to_regnamespace($1) IS NOT NULL AS found', [quote(schema)]);
    // The locks of a misspelt schema would be none.
    if (!rows[0].found) throw new NoSuchQueueError(`there is no schema '${schema}' in this database`);
  } catch (error) {
    await pool.end();
    throw error;
  }
  const inSchema = quote(schema);
  const hasQueueSql = `SELECT EXISTS (SELECT FROM ${inSchema}.meta WHERE queue = $1)
    OR EXISTS (SELECT FROM ${inSchema}.job WHERE queue = $1) AS found`;
  return {
    cache,
    async hasQueue(qualifiedName) {
      try {
        const { rows } = await pool.query(hasQueueSql, [qualifiedName]);
        return rows[0].found;
      } catch (error) {
        if (NOT_THERE_CODES.includes((error as { code: string }).code)) return false;
        const { message } = error as Error;
        throw new Error(`can't find out whether there is a queue '${qualifiedName}': ${message}`, {
          cause: error,
        });
      }
    },
    close: () => pool.end(),
  };
}

/** @throws UsageError it is no plain name. */
function parseSchema(create: () => PostgresCache): PostgresCache {
  try {
    return create();
  } catch (error) {
    throw new UsageError((error as TypeError).message);
  }
}

async function importIfInstalled<Module>(load: () => Promise<Module>): Promise<Module | undefined> {
  try {
    return await load();
  } catch (error) {
    const { code } = error as { code?: string };
    if (code === 'ERR_MODULE_NOT_FOUND' || code === 'MODULE_NOT_FOUND') return undefined;
    throw error;
  }
}
