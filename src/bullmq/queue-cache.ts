/**
 * Finds the datastore that a job came from. On Redis it is the worker's own connection, the one that does not block: a lock
 * on it needs no extra connection, and commands are executed in the order of sending. On PostgreSQL it is the worker's own
 * pool.
 */

import type { LockCache } from '../cache/contract.ts';
import type { PostgresPool } from '../cache/postgres/pool.ts';
import { isCluster, type RedisClient } from '../cache/redis/client.ts';
import { RedisCache } from '../cache/redis/redis-cache.ts';
import { getOrCreate } from '../core/get-or-create.ts';
import { nameOfJob } from '../core/holder.ts';
import { setImmediate } from '../core/timers.ts';
import type { RunningJob } from './job.ts';

/** The cache of a queue. */
export interface QueueCache {
  readonly cache: LockCache;
  /** A release that is sent before the job's completion is executed before it. Not so where there are several connections. */
  readonly releasesInOrder: boolean;
  /** It is the queue's own connection, and was not named by the user. A cache that was named may serve queues of other servers too. */
  readonly isOwn: boolean;
}

/** Where BullMQ's `Queue` and `Worker` keep their connection. BullMQ's types hide it. */
interface Connected {
  /** BullMQ 5 keeps its client here. */
  readonly client?: Promise<RedisClient>;
  /** BullMQ 6 keeps a backend: with a client for Redis, or a pool for PostgreSQL. */
  readonly backend?: {
    readonly client?: Promise<RedisClient>;
    readonly connection?: { readonly pool?: PostgresPool; readonly schema?: string };
  };
}

const ofWorkers = new WeakMap<object, QueueCache>();
const lookups = new WeakMap<object, Promise<QueueCache | undefined>>();
const ofConnections = new WeakMap<object, QueueCache>();

/**
 * Only those who use PostgreSQL load it, and once: while a second worker waited for that, later jobs of the first would overtake those that it
 * has.
 */
let postgres: Promise<typeof import('../cache/postgres/postgres-cache.ts')> | undefined;

/** The cache of a job's queue, if a job of its worker was here before. */
export function knownQueueCache(job: RunningJob): QueueCache | undefined {
  return job.queue && ofWorkers.get(job.queue);
}

/**
 * The cache of a job's queue.
 * @throws Error the job came without a connection. The message says what to pass.
 */
export async function findQueueCache(job: RunningJob): Promise<QueueCache> {
  const worker = job.queue;
  const found = worker && (await lookUp(worker));
  if (found) return found;
  throw new Error(
    `${nameOfJob(job.id, job.queueName)} came without a connection to its queue, as jobs do in a sandboxed processor and in ` +
      'tests: name a cache for its lock, such as onceProcessor(fn, { cache: new RedisCache(new Redis()) }) or, on PostgreSQL, ' +
      `{ cache: new PostgresCache(new pg.Pool()) }, or call caches.set('${job.queueName}', …) in that file; in a test, set ` +
      'caches.default = new MemoryCache()',
  );
}

/** The first jobs of a worker wait for its cache one behind another, so that none overtakes another on the way to its key. */
function lookUp(worker: object): Promise<QueueCache | undefined> {
  const known = lookups.get(worker);
  if (known) return known;
  const lookup = queueCacheOf(worker);
  lookups.set(worker, lookup);
  lookup.then(
    found => setImmediate(() => (found ? ofWorkers.set(worker, found) : lookups.delete(worker))),
    () => lookups.delete(worker),
  );
  return lookup;
}

/** The cache on the connection of BullMQ's `Queue` or `Worker`. */
export async function cacheOnConnection(queue: object): Promise<LockCache | undefined> {
  return (await queueCacheOf(queue))?.cache;
}

/** Whether BullMQ's `Queue` or `Worker` is on PostgreSQL. */
export function isOnPostgres(queue: object): boolean {
  return (queue as Connected).backend?.connection?.pool !== undefined;
}

async function queueCacheOf(queue: object): Promise<QueueCache | undefined> {
  const { backend, client: ofBullmq5 } = queue as Connected;
  const { pool, schema } = backend?.connection ?? {};
  if (pool && schema !== undefined) {
    postgres ??= import('../cache/postgres/postgres-cache.ts');
    const { PostgresCache } = await postgres;
    // A pool belongs to one worker, or to the user, and then the schema is the same for all.
    return getOrCreate(ofConnections, pool, () => ({
      cache: new PostgresCache(pool, { schema }),
      releasesInOrder: false,
      isOwn: true,
    }));
  }
  const client = await (backend ? backend.client : ofBullmq5);
  if (!client) return undefined;
  return getOrCreate(ofConnections, client, () => ({
    cache: new RedisCache(client),
    releasesInOrder: sendsInOrder(client),
    isOwn: true,
  }));
}

/**
 * A cluster has several connections. An auto-pipeline of ioredis is sent after a command that is not part of it, `asap` of
 * node-redis sends the last command first, and Valkey GLIDE goes on with what is queued when a command failed.
 */
function sendsInOrder(client: RedisClient): boolean {
  const { options = {} } = client as { options?: OrderOptions };
  const isGlide = options.addresses !== undefined;
  return !isCluster(client) && !isGlide && !options.enableAutoPipelining && !options.commandOptions?.asap;
}

interface OrderOptions {
  readonly addresses?: unknown;
  readonly enableAutoPipelining?: boolean;
  readonly commandOptions?: { readonly asap?: boolean };
}
