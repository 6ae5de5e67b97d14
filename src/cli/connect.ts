/** Opens the cache in the datastore that the command line names. */

import type { LockCache } from '../cache/contract.ts';
import { DEFAULT_SCHEMA, quote } from '../cache/postgres/migration.ts';
import { PostgresCache } from '../cache/postgres/postgres-cache.ts';
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

async function connectRedis({ redis: url, cluster }: RedisDatastore): Promise<Connection> {
  const { Redis, Cluster } = await importClient('ioredis', () => import('ioredis'));
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
    cache: new RedisCache(client as never),
    async hasQueue(qualifiedName) {
      // A queue that only workers and flows know has no meta.
      const names = ['meta', 'id', 'events'].map(name => `${qualifiedName}:${name}`);
      const found = await Promise.all(names.map(name => client.exists(name)));
      return found.includes(1);
    },
    close: () => client.disconnect(),
  };
}

/** There is no such table, or no such schema. */
const NOT_THERE_CODES = ['42P01', '3F000'];

async function connectPostgres({
  postgres: url,
  schema = DEFAULT_SCHEMA,
}: PostgresDatastore): Promise<Connection> {
  const { default: pg } = await importClient('pg', () => import('pg'));
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
