/**
 * Finds the datastore that a job came by. Of Redis it is the worker's own connection, the one that does not block, so a
 * lock on it costs no connection more, and what is sent on it is executed in the order of sending. Of PostgreSQL it is
 * the worker's own pool.
 */

import type { LockCache } from '../cache/contract.ts';
import { PostgresCache, type PostgresPool } from '../cache/postgres/postgres-cache.ts';
import { RedisCache } from '../cache/redis/redis-cache.ts';
import { isCluster, type RedisClient } from '../cache/redis/client.ts';
import type { JobLike } from './job.ts';

/** The cache of a queue. */
export interface QueueCache {
  readonly cache: LockCache;
  /** A release that is sent before the job's completion is executed before it. Not so where there are many connections. */
  readonly inOrder: boolean;
}

/** What of a worker is hidden from BullMQ's types. */
interface WorkerInsides {
  readonly opts?: { readonly lockDuration?: number };
  /** BullMQ 5 keeps its client in the worker. */
  readonly client?: Promise<RedisClient>;
  /** BullMQ 6 keeps what it has in a backend: a client for Redis, or a pool for PostgreSQL. */
  readonly backend?: {
    readonly client?: Promise<RedisClient>;
    readonly connection?: { readonly pool?: PostgresPool; readonly schema?: string };
  };
}

const ofWorkers = new WeakMap<object, QueueCache>();
const ofConnections = new WeakMap<object, QueueCache>();

/** The cache of a job's queue if one of its jobs was here before. */
export function knownQueueCache(job: JobLike): QueueCache | undefined {
  const worker = workerOf(job);
  return worker && ofWorkers.get(worker);
}

/**
 * The cache of a job's queue.
 * @throws Error the job came without a connection to keep a lock on. The message says what to pass.
 */
export async function findQueueCache(job: JobLike): Promise<QueueCache> {
  const worker = workerOf(job);
  const cache = worker && (postgresCacheOf(worker) ?? (await redisCacheOf(worker)));
  if (!worker || !cache) {
    throw new Error(
      `job ${job.id} of ${job.queueName} came without a connection to its queue, as jobs do in a sandboxed processor: ` +
        'name a cache for its lock, such as onceProcessor(fn, { cache: new RedisCache(new Redis()) }) or, on PostgreSQL, ' +
        `{ cache: new PostgresCache(new pg.Pool()) }, or caches.set('${job.queueName}', …) in that file`,
    );
  }
  ofWorkers.set(worker, cache);
  return cache;
}

/** The cache on a queue's own connection, of BullMQ's `Queue` as of its `Worker`. */
export async function cacheOnConnection(queue: object): Promise<LockCache | undefined> {
  return (postgresCacheOf(queue) ?? (await redisCacheOf(queue)))?.cache;
}

function postgresCacheOf(worker: WorkerInsides): QueueCache | undefined {
  const { pool, schema } = worker.backend?.connection ?? {};
  if (!pool || schema === undefined) return undefined;
  // A pool is one worker's, or it is the user's, and then the schema is the same for all.
  return cacheOf(pool, () => ({ cache: new PostgresCache(pool, { schema }), inOrder: false }));
}

async function redisCacheOf(worker: WorkerInsides): Promise<QueueCache | undefined> {
  const client = await (worker.backend ?? worker).client;
  return client && cacheOf(client, () => ({ cache: new RedisCache(client), inOrder: !isCluster(client) }));
}

function cacheOf(connection: object, make: () => QueueCache): QueueCache {
  const cache = ofConnections.get(connection) ?? make();
  ofConnections.set(connection, cache);
  return cache;
}

/** The worker's `lockDuration` in ms, BullMQ's own lease on the job. */
export function lockDurationOf(job: JobLike): number | undefined {
  return workerOf(job)?.opts?.lockDuration;
}

/** A job of a worker carries it as its `queue`; a plain job in a sandbox carries none. */
function workerOf(job: JobLike): WorkerInsides | undefined {
  return (job as { queue?: WorkerInsides }).queue;
}
