/**
 * Asks BullMQ what became of a job of the same queue. In a worker the queue is asked. In a sandbox a job has no queue; there the
 * jobs are read from the datastore of the locks, where it is the queue's too.
 */

import type { LockCache } from '../cache/contract.ts';
import { PostgresCache } from '../cache/postgres/postgres-cache.ts';
import { RedisCache } from '../cache/redis/redis-cache.ts';
import type { RunningJob } from './job.ts';

/** What BullMQ has stored of a job. */
export interface StoredJob {
  /** When it was created, in ms since the epoch: another job may have its id by now. */
  readonly timestamp: number;
  /** When it completed or failed for good, in ms since the epoch; absent while it is still to run. */
  readonly finishedOn?: number | undefined;
  readonly failedReason?: string | undefined;
}

/** What is needed of BullMQ's class `Job`. */
interface JobClass {
  fromId?(queue: unknown, id: string): Promise<StoredJob | undefined>;
}

/**
 * A job of the same queue.
 * @returns `undefined` where BullMQ has no such job; `'unknown'` where it can't be asked.
 */
export async function lookUpJob(
  job: RunningJob,
  id: string,
  cache: LockCache,
): Promise<StoredJob | undefined | 'unknown'> {
  if (job.queue) {
    const { fromId } = job.constructor as JobClass;
    return fromId ? await fromId.call(job.constructor, job.queue, id) : 'unknown';
  }
  const read = readerOf(cache);
  if (!read || job.id === undefined) return 'unknown';
  const [itself, other] = await read(job, [job.id, id]);
  // The locks may be kept elsewhere: then the job that asks is not there either.
  return itself?.timestamp === job.timestamp ? other : 'unknown';
}

/** Whether this code runs in a sandbox, a process or thread that may end while its worker lives. */
export function isInSandbox({ queue }: RunningJob): boolean {
  return queue === undefined;
}

type Reader = (job: RunningJob, ids: readonly string[]) => Promise<(StoredJob | undefined)[]>;

function readerOf(cache: LockCache): Reader | undefined {
  if (cache instanceof RedisCache) return (job, ids) => readFromRedis(cache, job, ids);
  if (cache instanceof PostgresCache) return (job, ids) => readFromPostgres(cache, job, ids);
  return undefined;
}

const JOBS_LUA: string = `
-- KEYS     the hashes of jobs
-- returns  of each: when it was created, when it finished, why it failed; '' where there is none
local answers = {}
for i = 1, #KEYS do
  local fields = redis.call('HMGET', KEYS[i], 'timestamp', 'finishedOn', 'failedReason')
  for j = 1, 3 do fields[j] = fields[j] or '' end
  answers[i] = fields
end
return answers
`;

async function readFromRedis(
  cache: RedisCache,
  { queueQualifiedName }: RunningJob,
  ids: readonly string[],
): Promise<(StoredJob | undefined)[]> {
  const names = ids.map(id => `${queueQualifiedName}:${id}`);
  const reply = (await cache.runScript(JOBS_LUA, names)) as unknown[][];
  return reply.map(fields => storedJob(fields.map(String)));
}

async function readFromPostgres(
  cache: PostgresCache,
  { queueQualifiedName, queueName }: RunningJob,
  ids: readonly string[],
): Promise<(StoredJob | undefined)[]> {
  const sql = `SELECT id, added_at_ms, finished_at_ms, failed_reason FROM ${cache.schema}.job
    WHERE queue = ANY($1) AND id = ANY($2)`;
  const { rows } = await cache.pool.query(sql, [[queueQualifiedName, queueName], ids]);
  return ids.map(id => {
    const row = rows.find(one => one.id === id);
    return row && storedJob([row.added_at_ms, row.finished_at_ms ?? '', row.failed_reason ?? '']);
  });
}

function storedJob(fields: readonly string[]): StoredJob | undefined {
  const [timestamp = '', finishedOn = '', failedReason = ''] = fields;
  if (timestamp === '') return undefined;
  return {
    timestamp: Number(timestamp),
    finishedOn: finishedOn === '' ? undefined : Number(finishedOn),
    failedReason,
  };
}
