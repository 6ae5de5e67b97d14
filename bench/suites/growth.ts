/** Whether a job costs the same with more jobs, more held locks and more processes; and what a lock costs the server. */

import { Lock, type LockHandle, RedisCache } from 'bullmq-once';
import { Redis } from 'ioredis';
import { type Figures, measure } from '../measure.ts';
import { type Report, ratio, table, whole } from '../report.ts';
import { serverStats } from '../server-stats.ts';
import type { Settings } from '../settings.ts';
import { Workers } from '../workers.ts';

const FLOOR = 'no guard';
const OURS = 'bullmq-once';

export async function growth(settings: Settings): Promise<Report> {
  return [
    '## Growth',
    'Workers of 50 on ioredis, all keys distinct. Each ratio is to workers without a guard in the same rounds.',
    ...(await jobs(settings)),
    ...(await lockHeld(settings)),
    ...(await processes(settings)),
    ...(await onTheServer(settings)),
  ];
}

async function jobs(settings: Settings): Promise<Report> {
  const workers = await pair(settings, 1);
  const rows = [];
  for (const count of [5_000, 20_000, 50_000]) {
    rows.push([whole(count), ...(await row(workers, count / settings.scale, settings.rounds))]);
  }
  for (const one of workers) one.close();
  return [table(['jobs in the queue', 'relative throughput', 'worker µs/job', 'Redis µs/job'], rows)];
}

async function lockHeld(settings: Settings): Promise<Report> {
  const workers = await pair(settings, 1);
  const redis = new Redis(settings.servers.redis);
  const cache = new RedisCache(redis);
  const handles: LockHandle[] = [];
  const rows = [];
  for (const count of [0, 10_000, 100_000]) {
    while (handles.length < count / settings.scale) {
      const some = Array.from({ length: 100 }, (_, i) => new Lock(`held-${handles.length + i}`, { cache }));
      handles.push(...(await Promise.all(some.map(lock => lock.acquire()))));
    }
    rows.push([whole(count), ...(await row(workers, 20_000 / settings.scale, settings.rounds))]);
  }
  await Promise.all(handles.map(handle => handle.release()));
  for (const one of workers) one.close();
  redis.disconnect();
  return [table(['other locks that are held', 'relative throughput', 'worker µs/job', 'Redis µs/job'], rows)];
}

async function processes(settings: Settings): Promise<Report> {
  const rows = [];
  for (const count of [1, 2, 4, 8]) {
    const workers = await pair(settings, count);
    rows.push([String(count), ...(await row(workers, 24_000 / settings.scale, settings.rounds))]);
    for (const one of workers) one.close();
  }
  return [table(['processes', 'relative throughput', 'worker µs/job', 'Redis µs/job'], rows)];
}

async function onTheServer({ servers, scale }: Settings): Promise<Report> {
  const redis = new Redis(servers.redis);
  const cache = new RedisCache(redis);
  const rows = [];
  for (const size of [1, 10, 50]) {
    const pairs = async (turns: number) => {
      for (let turn = 0; turn < turns; turn++) {
        const locks = Array.from({ length: size }, (_, i) => new Lock(`key-${turn}-${i}`, { cache }));
        const handles = await Promise.all(locks.map(lock => lock.acquire()));
        await Promise.all(handles.map(handle => handle.release()));
      }
    };
    await pairs(100);
    const before = await serverStats(redis);
    const turns = Math.ceil(10_000 / size / scale);
    await pairs(turns);
    const after = await serverStats(redis);
    rows.push([
      String(size),
      whole((after.scriptMicros - before.scriptMicros) / turns / size),
      whole((after.cpu - before.cpu) / turns / size),
    ]);
  }
  redis.disconnect();
  return [
    table(
      ['locks acquired and released together', 'µs in the script, a lock', "µs of the server's CPU, a lock"],
      rows,
    ),
  ];
}

async function pair({ servers, workerSets: sets, scale }: Settings, processes: number): Promise<Workers[]> {
  const both = [
    new Workers(servers, FLOOR, { sets, processes }),
    new Workers(servers, OURS, { sets, processes }),
  ];
  for (const workers of both) await workers.warmUp(load((8_000 * processes) / scale));
  return both;
}

async function row(workers: readonly Workers[], jobs: number, rounds: number): Promise<string[]> {
  const contenders = workers.map((one, i) => ({
    name: i ? OURS : FLOOR,
    run: (): Promise<Figures> => one.run(load(jobs)),
  }));
  const ours = (await measure(contenders, rounds))[1];
  return [
    ratio(ours?.ratio['jobs/s']),
    whole(ours?.median['worker µs/job']),
    whole(ours?.median['Redis µs/job']),
  ];
}

function load(jobs: number) {
  return {
    store: 'ioredis',
    concurrency: 50,
    jobs: Math.ceil(jobs),
    key: (n: number) => `key-${n}`,
  } as const;
}
