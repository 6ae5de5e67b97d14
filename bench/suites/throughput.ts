/** How many jobs that do nothing a worker ends in a second: under each guard, on each client, at each concurrency. */

import { chart, type Series } from '../chart.ts';
import { BY_HAND, guards, NO_GUARD, OURS } from '../guards.ts';
import { type Measured, measure } from '../measure.ts';
import { type Chart, figure, type Report, ratio, table } from '../report.ts';
import type { Settings } from '../settings.ts';
import type { Store } from '../stores.ts';
import { type Load, Workers } from '../workers.ts';

const DISTINCT = 'all keys distinct';
const HALF = 'half of the jobs duplicates of their neighbours';
const KEYS: Record<string, Load['key']> = {
  [DISTINCT]: n => `key-${n}`,
  [HALF]: n => `key-${n >> 1}`,
  'one hot key': () => 'key',
};
/** Which part of the jobs is enough for runs of about the same time. */
const PARTS: Record<Store, number> = { ioredis: 1, 'node-redis': 1 / 2, postgres: 1 / 5 };

export async function throughput({
  servers,
  rounds,
  stores,
  workerSets,
  concurrencies,
  jobs,
}: Settings): Promise<Report> {
  const report: Report = [
    '## A worker',
    'Jobs a second of one worker whose jobs do nothing, relative to the same worker without a guard. The lock libraries ' +
      'run where they can: some know no node-redis, none knows PostgreSQL. “Own Redis connection” keeps its locks on Redis over a second ' +
      'connection (`cache: new RedisCache(redis)`), also where the queue is on PostgreSQL.',
    'With one hot key all jobs have the same key. One at a time, none is a duplicate. Of ten at a time most are skipped, of fifty at a time ' +
      'nearly all.',
  ];
  for (const store of stores) {
    const names = guards.filter(({ stores }) => stores.includes(store)).map(({ name }) => name);
    const workers = names.map(name => ({ name, workers: new Workers(servers, name, { sets: workerSets }) }));
    const load = (concurrency: number, key: Load['key']): Load => ({
      store,
      concurrency,
      jobs: Math.ceil(jobs(concurrency) * PARTS[store]),
      key,
    });
    const measured = new Map<string, Measured[][]>();
    // The highest first: it has the most jobs to warm up with.
    for (const [nth, concurrency] of concurrencies.toReversed().entries()) {
      const warming = load(concurrency, KEYS[HALF] as Load['key']);
      // A process becomes faster until some fifty thousand jobs. At a new concurrency it has a new worker.
      for (const { workers: own } of workers) await own.warmUp(warming, nth === 0 ? 6 : 3);
      for (const [keys, key] of Object.entries(KEYS)) {
        const contenders = workers.map(({ name, workers: own }) => ({
          name,
          run: () => own.run(load(concurrency, key)),
        }));
        const result = await measure(contenders, rounds);
        measured.set(keys, [result, ...(measured.get(keys) ?? [])]);
        const ratios = result.map(({ ratios }) => ratios['jobs/s']?.median.toFixed(2)).join(' ');
        console.error(`throughput, ${store}, ${keys}, concurrency ${concurrency}: ${ratios}`);
      }
    }

    for (const [keys, results] of measured) {
      const at50 = results[concurrencies.indexOf(50)] as Measured[];
      const isOnRedis = store !== 'postgres';
      report.push(
        `### ${store}, ${keys}`,
        table(
          [
            '',
            ...concurrencies.map(one => `at ${one}`),
            'jobs/s at 1',
            'jobs/s at 50',
            'worker µs/job at 50',
            ...(isOnRedis ? ['Redis µs/job at 50'] : []),
          ],
          at50.map((measured, i) => [
            measured.name,
            ...results.map(result => ratio(result[i]?.ratios['jobs/s'])),
            figure(results[0]?.[i]?.figures['jobs/s']),
            figure(measured.figures['jobs/s']),
            figure(measured.figures['worker µs/job']),
            ...(isOnRedis ? [figure(measured.figures['Redis µs/job'])] : []),
          ]),
        ),
      );
      if (store === 'ioredis' && keys === DISTINCT) {
        report.push(costChart(concurrencies, results));
      }
    }
    for (const { workers: own } of workers) own.close();
  }
  return report;
}

/** What a guard leaves of the throughput, at each concurrency that most workers have. */
export function costChart(
  concurrencies: readonly number[],
  results: readonly (readonly Measured[])[],
): Chart {
  const shown = [1, 10, 50].filter(one => concurrencies.includes(one));
  const measured = shown.map(one => results[concurrencies.indexOf(one)] as readonly Measured[]);
  const throughputOf = (one: Measured | undefined) => one?.ratios['jobs/s']?.median ?? 0;
  const series = (name: string, guard: string): Series => ({
    name,
    values: measured.map(all => throughputOf(all.find(one => one.name === guard))),
  });
  const best = measured.map(all =>
    all.filter(isLibrary).reduce((a, b) => (throughputOf(b) > throughputOf(a) ? b : a)),
  );
  const names = [...new Set(best.map(({ name }) => name))].join(', ');
  return chart(
    'throughput',
    'Throughput of a worker whose jobs do nothing, relative to no guard (more is better)',
    shown.map(one => (one === 1 ? 'one job at a time' : `${one} jobs at a time`)),
    [
      series('no guard', NO_GUARD),
      series('bullmq-once', OURS),
      series('by hand: SET NX, a script to release', BY_HAND),
      { name: `the best lock library (${names})`, values: best.map(throughputOf) },
    ],
  );
}

function isLibrary({ name }: Measured): boolean {
  return guards.some(guard => guard.name === name && guard.isLibrary);
}
