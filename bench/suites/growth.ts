/** Whether a job costs the same with more jobs, more held locks and more processes. */

import { Lock, type LockHandle, RedisCache } from 'bullmq-once';
import { Redis } from 'ioredis';
import { NO_GUARD, OURS } from '../guards.ts';
import { type Figures, measure } from '../measure.ts';
import { type Cell, figure, type Report, ratio, table, whole } from '../report.ts';
import type { Settings } from '../settings.ts';
import { Workers } from '../workers.ts';

export async function growth(settings: Settings): Promise<Report> {
  return [
    '## Growth',
    'Workers of 50 on ioredis, all keys distinct. Each ratio is to workers without a guard in the same rounds. ' +
      'The rows are measured one after another: compare their ratios.',
    ...(await jobs(settings)),
    ...(await lockHeld(settings)),
    ...(await processes(settings)),
  ];
}

async function jobs(settings: Settings): Promise<Report> {
  const workers = await pair(settings, 1);
  const rows = [];
  for (const count of [5_000, 20_000, 50_000]) {
    rows.push([whole(count), ...(await row(workers, count / settings.scale, settings.rounds))]);
  }
  for (const one of workers) one.close();
  return [tableBy('jobs in the queue', rows)];
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
  return [tableBy('other locks that are held', rows)];
}

async function processes(settings: Settings): Promise<Report> {
  const rows = [];
  for (const count of [1, 2, 4, 8]) {
    const workers = await pair(settings, count);
    rows.push([String(count), ...(await row(workers, 24_000 / settings.scale, settings.rounds))]);
    for (const one of workers) one.close();
  }
  return [tableBy('processes', rows)];
}

async function pair({ servers, workerSets: sets, scale }: Settings, processes: number): Promise<Workers[]> {
  const both = [
    new Workers(servers, NO_GUARD, { sets, processes }),
    new Workers(servers, OURS, { sets, processes }),
  ];
  for (const workers of both) await workers.warmUp(load((8_000 * processes) / scale), 2);
  return both;
}

/** @param what - what grows from row to row, whose other cells {@link row} measures. */
function tableBy(what: string, rows: readonly (readonly (string | Cell)[])[]): string {
  return table([what, 'relative throughput', 'worker µs/job', 'without a guard', 'Redis µs/job'], rows);
}

async function row(workers: readonly Workers[], jobs: number, rounds: number): Promise<(string | Cell)[]> {
  const contenders = workers.map((one, i) => ({
    name: i ? OURS : NO_GUARD,
    run: (): Promise<Figures> => one.run(load(jobs)),
  }));
  const [bare, ours] = await measure(contenders, rounds);
  return [
    ratio(ours?.ratios['jobs/s']),
    figure(ours?.figures['worker µs/job']),
    figure(bare?.figures['worker µs/job']),
    figure(ours?.figures['Redis µs/job']),
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
