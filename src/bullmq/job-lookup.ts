/**
 * Asks BullMQ what became of a job. BullMQ keeps its jobs beside the locks in most cases, and there they are read: also from a
 * sandbox, where a job has no queue, and of other queues of a scope. Else a job's own queue is asked.
 */

import type { LockCache } from '../cache/contract.ts';
import { PostgresCache } from '../cache/postgres/postgres-cache.ts';
import { RedisCache } from '../cache/redis/redis-cache.ts';
import type { OwnedBy } from '../lock/owner-id.ts';
import type { RunningJob } from './job.ts';

/** What BullMQ has stored of a job. */
export interface StoredJob {
  /** When it completed or failed for good, in ms since the epoch; absent while it is still to run. */
  readonly finishedOn?: number | undefined;
  readonly failedReason?: string | undefined;
}

/** A job, as it is stored under its id; another job may have that id by now. */
interface StoredUnderId extends StoredJob {
  /** When it was created, in ms since the epoch. */
  readonly timestamp: number;
}

/** `'gone'`: BullMQ has no such job any more. `'unknown'`: it can't be asked. */
export type JobLookup = StoredJob | 'gone' | 'unknown';

/**
 * Looks a job up.
 * @param asking - the job that asks.
 * @param other - the job of an owner, where that names one.
 * @param cache - where its lock is kept.
 */
export async function lookUpJob(
  asking: RunningJob,
  other: OwnedBy | undefined,
  cache: LockCache,
): Promise<JobLookup> {
  if (!other) return 'unknown';
  let found = await readBesideLocks(asking, other, cache).catch(() => 'unknown' as const);
  if (found === 'unknown') found = await askOwnQueue(asking, other).catch(() => 'unknown' as const);
  if (found === 'unknown') return 'unknown';
  return found?.timestamp === other.timestamp ? found : 'gone';
}

type Found = StoredUnderId | undefined | 'unknown';

async function readBesideLocks(asking: RunningJob, other: OwnedBy, cache: LockCache): Promise<Found> {
  if (asking.id === undefined) return 'unknown';
  if (cache instanceof RedisCache) return readFromRedis(asking, other, cache);
  if (cache instanceof PostgresCache) return readFromPostgres(asking, other, cache);
  return 'unknown';
}

const JOB_LUA: string = `
-- KEYS     the hash of the job that asks, and of the other; the other queue's meta data
-- returns  when the one that asks was created; 1 if there is such a queue; of the other job: when it was created, when it finished,
--          why it failed; '' where there is none
local other = redis.call('HMGET', KEYS[2], 'timestamp', 'finishedOn', 'failedReason')
return {
  redis.call('HGET', KEYS[1], 'timestamp') or '', redis.call('EXISTS', KEYS[3]),
  other[1] or '', other[2] or '', other[3] or '',
}
`;

async function readFromRedis(asking: RunningJob, other: OwnedBy, cache: RedisCache): Promise<Found> {
  const queue = other.queueQualifiedName;
  const keys = [`${asking.queueQualifiedName}:${asking.id}`, `${queue}:${other.jobId}`, `${queue}:meta`];
  const reply = ((await cache.runScript(JOB_LUA, keys)) as unknown[]).map(String);
  const [createdAt, isQueue, ...fields] = reply;
  // BullMQ may keep its jobs elsewhere: then those that must be here are not.
  if (Number(createdAt) !== asking.timestamp || isQueue !== '1') return 'unknown';
  return storedJob(fields);
}

async function readFromPostgres(asking: RunningJob, other: OwnedBy, cache: PostgresCache): Promise<Found> {
  const { rows } = await cache.pool.query(
    `SELECT queue, id, added_at_ms, finished_at_ms, failed_reason FROM "${cache.schema}".job
     WHERE (queue, id) IN (($1, $2), ($3, $4))
     UNION ALL SELECT queue, NULL, 0, 0, '' FROM "${cache.schema}".meta WHERE queue = $3 AND field = 'version'`,
    [asking.queueQualifiedName, asking.id, other.queueQualifiedName, other.jobId],
  );
  const rowOf = (queue: string, id: string | undefined | null) =>
    rows.find(row => row.queue === queue && row.id === id);
  const itself = rowOf(asking.queueQualifiedName, asking.id);
  const isHere = Number(itself?.added_at_ms) === asking.timestamp && rowOf(other.queueQualifiedName, null);
  if (!isHere) return 'unknown';
  const row = rowOf(other.queueQualifiedName, other.jobId);
  return row && storedJob([row.added_at_ms, row.finished_at_ms ?? '', row.failed_reason ?? '']);
}

function storedJob(fields: readonly string[]): StoredUnderId | undefined {
  const [timestamp = '', finishedOn = '', failedReason = ''] = fields;
  if (timestamp === '') return undefined;
  return {
    timestamp: Number(timestamp),
    finishedOn: finishedOn === '' ? undefined : Number(finishedOn),
    failedReason,
  };
}

/** What is needed of BullMQ's class `Job`. */
interface JobClass {
  fromId?(queue: unknown, id: string): Promise<StoredUnderId | undefined>;
}

async function askOwnQueue(asking: RunningJob, other: OwnedBy): Promise<Found> {
  const { fromId } = asking.constructor as JobClass;
  const isOwnQueue = other.queueQualifiedName === asking.queueQualifiedName;
  if (!asking.queue || !fromId || !isOwnQueue) return 'unknown';
  return fromId.call(asking.constructor, asking.queue, other.jobId);
}
