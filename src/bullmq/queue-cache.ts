/**
 * Finds the Redis connection that a job came by. It is the worker's own, the one that does not block, so a lock on
 * it costs no connection more, and what is sent on it is executed in the order of sending.
 */

import type { LockCache } from '../caches/cache.ts';
import { RedisCache } from '../caches/redis.ts';
import { isCluster, type RedisClient } from '../caches/redis-client.ts';
import type { JobLike } from './job-owner.ts';

/** The cache of a queue. */
export interface QueueCache {
  readonly cache: LockCache;
  /** A release that is sent before the job's completion is executed before it. Not so in a cluster, of many connections. */
  readonly inOrder: boolean;
}

/** What of a worker is hidden from BullMQ's types, see {@link clientOf}. */
interface WorkerInsides {
  readonly opts?: { readonly lockDuration?: number };
  readonly client?: Promise<RedisClient>;
  readonly backend?: { readonly client?: Promise<RedisClient> };
}

const ofWorkers = new WeakMap<object, QueueCache>();
const ofClients = new WeakMap<object, QueueCache>();

/** The cache of a job's queue if one of its jobs was here before. */
export function knownQueueCache(job: JobLike): QueueCache | undefined {
  const worker = workerOf(job);
  return worker && ofWorkers.get(worker);
}

/**
 * The cache of a job's queue.
 * @throws Error the job has no Redis connection to keep a lock on. The message says what to pass.
 */
export async function findQueueCache(job: JobLike): Promise<QueueCache> {
  const worker = workerOf(job);
  const client = worker && (await clientOf(worker));
  if (!worker || !client) {
    throw new Error(
      `job ${job.id} of ${job.queueName} came without a Redis connection, as jobs do in a sandboxed processor: ` +
        "name a cache for its lock, such as onceProcessor(fn, { cache: new RedisCache(new Redis()) }) or caches.set('" +
        `${job.queueName}', …)`,
    );
  }
  const cache = ofClients.get(client) ?? { cache: new RedisCache(client), inOrder: !isCluster(client) };
  ofClients.set(client, cache);
  ofWorkers.set(worker, cache);
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

/** BullMQ 6 keeps its client in the worker's backend, BullMQ 5 in the worker. */
async function clientOf(worker: WorkerInsides): Promise<RedisClient | undefined> {
  return worker.backend ? worker.backend.client : worker.client;
}
