/** What the memory of work that is done takes (`dedupeFor`): bytes a record, in Redis and in PostgreSQL. */

import { once } from 'node:events';
import { Queue, Worker } from 'bullmq';
import { onceProcessor, RedisCache } from 'bullmq-once';
import { PostgresCache } from 'bullmq-once/postgres';
import { Redis } from 'ioredis';
import pg from 'pg';
import type { Processor } from '../guards.ts';
import { type Report, table, whole } from '../report.ts';
import { serverStats } from '../server-stats.ts';
import type { Settings } from '../settings.ts';

const RECORDS = 100_000;
const DAY = 24 * 60 * 60 * 1000;
const CHUNK = 1000;

export async function records({ servers, scale }: Settings): Promise<Report> {
  const count = RECORDS / scale;
  const redis = new Redis(servers.redis);
  const pool = new pg.Pool({ connectionString: servers.postgres });
  const inRedis = [
    await bytesInRedis(redis, count, () => doJobs(servers.redis, count, new RedisCache(redis))),
    await bytesInRedis(redis, count, () => setKeys(redis, count)),
  ];
  await doJobs(servers.redis, count, new PostgresCache(pool));
  await insertRows(pool, count);
  const inPostgres = [
    await bytesInPostgres(pool, 'bullmq.once_lock'),
    await bytesInPostgres(pool, 'done_by_hand'),
  ];
  await redis.flushdb();
  redis.disconnect();
  await pool.end();
  return [
    '## Records of work that is done',
    `Each of ${whole(count)} jobs with a key of its own was done once, with \`dedupeFor\` of a day. Beside that the least that ` +
      'remembers the same: the key, the id of its job and the expiry. In Redis it is the growth of `used_memory`. In PostgreSQL it is ' +
      'the table with its indexes, as it lies and after `VACUUM FULL`: a lock that becomes a record leaves a dead row. Measured once: ' +
      'bytes do not vary from round to round.',
    table(
      ['', 'bytes a record', 'after VACUUM FULL'],
      [
        ['Redis: bullmq-once', whole(inRedis[0] as number), ''],
        ['Redis: SET key value PX', whole(inRedis[1] as number), ''],
        ['PostgreSQL: bullmq-once', ...(inPostgres[0] as number[]).map(whole)],
        ['PostgreSQL: INSERT', ...(inPostgres[1] as number[]).map(whole)],
      ],
    ),
  ];
}

async function bytesInRedis(redis: Redis, count: number, fill: () => Promise<void>): Promise<number> {
  await redis.flushdb();
  const before = await serverStats(redis);
  await fill();
  const after = await serverStats(redis);
  const stored = await redis.dbsize();
  if (stored !== count) throw new Error(`there are ${stored} keys, not ${count}`);
  return (after.memory - before.memory) / count;
}

/** Bytes a row: as the table lies, and without its dead rows. */
async function bytesInPostgres(pool: pg.Pool, name: string): Promise<number[]> {
  const size = `SELECT pg_total_relation_size('${name}')::float / count(*) AS bytes FROM ${name}`;
  const { rows: before } = await pool.query(size);
  await pool.query(`VACUUM FULL ${name}`);
  const { rows: after } = await pool.query(size);
  return [before[0].bytes, after[0].bytes];
}

/** Has jobs done by a real worker. Its queue, which is on Redis, is gone afterwards: only the records stay. */
async function doJobs(url: string, count: number, cache: RedisCache | PostgresCache): Promise<void> {
  const connection = { url };
  const queue = new Queue('records', { connection });
  const processor: Processor = onceProcessor(async () => {}, { key: '{key}', dedupeFor: DAY, cache });
  const worker = new Worker('records', processor, { connection, concurrency: 200 });
  let done = 0;
  worker.on('completed', () => done++);
  // In small parts, so that Redis' table of keys is never larger than the records need.
  for (let from = 0; from < count; from += CHUNK) {
    await queue.addBulk(numbers(from, count).map(n => job(n)));
    while (done < Math.min(count, from + CHUNK)) await once(worker, 'completed');
  }
  await worker.close();
  await queue.obliterate({ force: true });
  await queue.close();
}

async function setKeys(redis: Redis, count: number): Promise<void> {
  for (let from = 0; from < count; from += CHUNK) {
    await Promise.all(
      numbers(from, count).map(n => redis.set(`done:records:key-${n}`, String(n), 'PX', DAY)),
    );
  }
}

async function insertRows(pool: pg.Pool, count: number): Promise<void> {
  await pool.query(
    'CREATE TABLE done_by_hand (key text PRIMARY KEY, job text NOT NULL, expires timestamptz NOT NULL)',
  );
  await pool.query(
    `INSERT INTO done_by_hand SELECT 'done:records:key-' || n, n, now() + interval '1 day' FROM generate_series(1, $1::int) AS n`,
    [count],
  );
}

function job(n: number) {
  return { name: 'job', data: { key: `key-${n}` }, opts: { removeOnComplete: true } };
}

/** The next numbers from one on, a chunk of them or as many as are left. */
function numbers(from: number, count: number): number[] {
  return Array.from({ length: Math.min(CHUNK, count - from) }, (_, i) => from + i);
}
