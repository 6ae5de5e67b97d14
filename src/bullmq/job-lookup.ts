/**
 * Asks BullMQ what became of a job. BullMQ keeps its jobs beside the locks in most cases, and there they are read: also from a
 * sandbox, where a job has no queue, and of other queues of a scope. Else a job's own queue is asked.
 */

import type { LockCache } from '../cache/contract.ts';
import { codeOf } from '../cache/postgres/error-codes.ts';
import { quote } from '../cache/postgres/names.ts';
import type { PostgresCache } from '../cache/postgres/postgres-cache.ts';
import { RedisCache } from '../cache/redis/redis-cache.ts';
import { asError } from '../core/errors.ts';
import { within } from '../core/within.ts';
import type { OwnedBy } from '../key/owner-id.ts';
import { askQueue, type RunningJob } from './job.ts';

/**
 * - `'to-run'`: BullMQ has the job, and it is running, or will run;
 * - `'finished'`: it has completed, or failed for good;
 * - `'given-up'`: BullMQ has failed it because it lost sight of its process, which may still be at work;
 * - `'gone'`: there is no such job where the one that asks is;
 * - `'unknown'`: BullMQ can't be asked;
 * - `'unanswered'`: it was asked, and did not answer in time. The next question may be answered.
 */
export type JobFate = 'to-run' | 'finished' | 'given-up' | 'gone' | 'unknown' | 'unanswered';

/** The reasons of jobs that stalled, or were started, "more than allowable limit". */
const GIVEN_UP = 'more than allowable';
/** As much of a reason is looked at. It may quote all of a job's input. */
const REASON_LENGTH = 100;

/** What is stored of a job. Another job may have its id by now. */
interface StoredJob {
  /** When it was created, in ms since the epoch. */
  readonly timestamp: number;
  readonly isFinished: boolean;
  readonly failedReason: string;
}

/** `undefined`: it is not there. */
type Found = StoredJob | undefined | 'unknown';

/**
 * Looks a job up.
 * @param asking - the job that asks.
 * @param other - the job of an owner, where that names one.
 * @param cache - where its lock is kept.
 * @param timeoutMs - how long to wait for an answer.
 */
export async function lookUpJob(
  asking: RunningJob,
  other: OwnedBy | undefined,
  cache: LockCache,
  timeoutMs: number,
): Promise<JobFate> {
  if (!other) return 'unknown';
  try {
    const answer = lookUp(asking, other, cache).then(fate => ({ fate }));
    return (await within(timeoutMs, answer))?.fate ?? 'unanswered';
  } catch {
    return 'unanswered';
  }
}

async function lookUp(asking: RunningJob, other: OwnedBy, cache: LockCache): Promise<JobFate> {
  let found = await readBesideLocks(asking, other, cache).catch(unknownIfRefused);
  if (found === 'unknown') found = await askOwnQueue(asking, other);
  if (found === 'unknown') return 'unknown';
  if (found?.timestamp !== other.timestamp) return 'gone';
  if (!found.isFinished) return 'to-run';
  return found.failedReason.includes(GIVEN_UP) ? 'given-up' : 'finished';
}

/** Redis says that the two queues are in different slots, or that its user may not read them. */
const REFUSED_BY_REDIS = /crossslot|noperm/i;
/** PostgreSQL's codes: there is no such table, column or schema, or its user may not read it. */
const REFUSED_BY_POSTGRES = /^(?:42|3F)/;

/** The datastore will not answer this question at another time either. @throws Error it may. */
function unknownIfRefused(error: unknown): 'unknown' {
  const isForGood = REFUSED_BY_REDIS.test(asError(error).message) || REFUSED_BY_POSTGRES.test(codeOf(error));
  if (isForGood) return 'unknown';
  throw error;
}

async function readBesideLocks(asking: RunningJob, other: OwnedBy, cache: LockCache): Promise<Found> {
  if (asking.id === undefined) return 'unknown';
  if (cache instanceof RedisCache) return readFromRedis(asking, other, cache);
  if (isPostgresCache(cache)) return readFromPostgres(asking, other, cache);
  return 'unknown';
}

/** Not by `instanceof`, which would load the class for all who have no PostgreSQL. */
function isPostgresCache(cache: LockCache): cache is PostgresCache {
  return 'pool' in cache && 'schema' in cache;
}

const JOB_LUA: string = `
-- KEYS     the hash of the job that asks, and of the other; the other queue's meta data
-- returns  when the one that asks was created; 1 if there is such a queue; of the other job: when it was created, when it finished,
--          the beginning of why it failed; '' where there is none
local created, finished = unpack(redis.call('HMGET', KEYS[2], 'timestamp', 'finishedOn'))
local reason = finished and redis.call('HGET', KEYS[2], 'failedReason')
return {
  redis.call('HGET', KEYS[1], 'timestamp') or '', redis.call('EXISTS', KEYS[3]),
  created or '', finished or '', string.sub(reason or '', 1, ${REASON_LENGTH}),
}
`;

async function readFromRedis(asking: RunningJob, other: OwnedBy, cache: RedisCache): Promise<Found> {
  const queue = other.queueQualifiedName;
  const keys = [`${asking.queueQualifiedName}:${asking.id}`, `${queue}:${other.jobId}`, `${queue}:meta`];
  const reply = ((await cache.runScript(JOB_LUA, keys)) as unknown[]).map(String);
  const [askerCreated = '', isQueue, created = '', finished, failedReason = ''] = reply;
  const isHere = timeFrom(askerCreated) === asking.timestamp && isQueue === '1';
  const found =
    created === '' ? undefined : { timestamp: timeFrom(created), isFinished: finished !== '', failedReason };
  return believed(found, other, isHere);
}

/**
 * BullMQ may keep its jobs elsewhere: then those that must be here are not. A job that is here and has not finished is to run all the same:
 * the one that asks may have been removed.
 * @param isHere - the job that asks is here, and so is the other's queue.
 */
function believed(found: StoredJob | undefined, other: OwnedBy, isHere: boolean): Found {
  const isToRun = found?.timestamp === other.timestamp && !found.isFinished;
  return isHere || isToRun ? found : 'unknown';
}

/** As BullMQ reads it: a producer may have given a fraction, or no number at all. */
function timeFrom(text: string): number {
  return Number.parseInt(text || '0', 10);
}

async function readFromPostgres(asking: RunningJob, other: OwnedBy, cache: PostgresCache): Promise<Found> {
  const { rows } = await cache.pool.query(
    `SELECT queue, id, added_at_ms, finished_at_ms, left(failed_reason, ${REASON_LENGTH}) AS reason
     FROM ${quote(cache.schema)}.job WHERE (queue, id) IN (($1, $2), ($3, $4))
     UNION ALL
     SELECT queue, NULL, 0, 0, '' FROM ${quote(cache.schema)}.meta WHERE queue = $3 AND field = 'version'`,
    [asking.queueQualifiedName, asking.id, other.queueQualifiedName, other.jobId],
  );
  const rowOf = (queue: string, id: string | undefined | null) =>
    rows.find(row => row.queue === queue && row.id === id);
  const itself = rowOf(asking.queueQualifiedName, asking.id);
  const isQueue = rowOf(other.queueQualifiedName, null) !== undefined;
  const isHere = Number(itself?.added_at_ms) === asking.timestamp && isQueue;
  const row = rowOf(other.queueQualifiedName, other.jobId);
  const found = row && {
    timestamp: Number(row.added_at_ms),
    isFinished: row.finished_at_ms !== null,
    failedReason: row.reason ?? '',
  };
  return believed(found, other, isHere);
}

async function askOwnQueue(asking: RunningJob, other: OwnedBy): Promise<Found> {
  if (other.queueQualifiedName !== asking.queueQualifiedName) return 'unknown';
  const asked = askQueue(asking, other.jobId);
  if (!asked) return 'unknown';
  const job = await asked;
  if (!job) return undefined;
  const { timestamp, finishedOn, failedReason = '' } = job;
  return { timestamp, isFinished: finishedOn !== undefined, failedReason };
}

/** How far up a job's ancestors are looked for. */
const MAX_ANCESTORS = 10;

/**
 * Whether a job waits for the one that asks, as its parent or as a parent of that, as far as it can be known.
 */
export async function isAncestor(
  { queueQualifiedName, jobId }: OwnedBy,
  { parentKey }: RunningJob,
  cache: LockCache,
): Promise<boolean> {
  const wanted = `${queueQualifiedName}:${jobId}`;
  let ancestor = parentKey;
  for (let i = 0; i < MAX_ANCESTORS && ancestor; i++) {
    if (ancestor === wanted) return true;
    ancestor = await parentOf(ancestor, cache).catch(() => undefined);
  }
  return false;
}

const PARENT_LUA: string = `
-- KEYS[1]  the hash of a job
-- returns  the key of its parent; '' where it has none
return redis.call('HGET', KEYS[1], 'parentKey') or ''
`;

async function parentOf(jobKey: string, cache: LockCache): Promise<string | undefined> {
  if (cache instanceof RedisCache) return String(await cache.runScript(PARENT_LUA, [jobKey]));
  if (!isPostgresCache(cache)) return undefined;
  const colon = jobKey.indexOf(':');
  const sql = `SELECT parent_key FROM ${quote(cache.schema)}.job WHERE queue = $1 AND id = $2`;
  const { rows } = await cache.pool.query(sql, [jobKey.slice(0, colon), jobKey.slice(colon + 1)]);
  return rows[0]?.parent_key ?? undefined;
}
