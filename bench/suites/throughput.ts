/** How many jobs that do nothing a worker ends in a second: under each guard, on each client, at each concurrency. */

import { guards } from '../guards.ts';
import { type Measured, measure } from '../measure.ts';
import { chart, type Report, ratio, table, whole } from '../report.ts';
import type { Settings } from '../settings.ts';
import type { Store } from '../stores.ts';
import { type Load, Workers } from '../workers.ts';

const DISTINCT = 'all keys distinct';
const KEYS: Record<string, Load['key']> = {
  [DISTINCT]: n => `key-${n}`,
  'half of the jobs duplicates of their neighbours': n => `key-${n >> 1}`,
  'one hot key': () => 'key',
};
/** The clients, and which part of the jobs is enough for runs of about the same time. */
const STORES = { ioredis: 1, 'node-redis': 1 / 2, postgres: 1 / 5 } as const;

export async function throughput({
  servers,
  rounds,
  workerSets,
  concurrencies,
  jobs,
}: Settings): Promise<Report> {
  const report: Report = [
    '## A worker',
    'Jobs a second of one worker whose jobs do nothing, relative to the same worker without a guard. The lock libraries ' +
      'run where they can: some know no node-redis, none knows PostgreSQL.',
  ];
  for (const [store, part] of Object.entries(STORES) as [Store, number][]) {
    const names = guards.filter(({ stores }) => stores.includes(store)).map(({ name }) => name);
    const workers = names.map(name => ({ name, workers: new Workers(servers, name, { sets: workerSets }) }));
    const load = (concurrency: number, key: Load['key']): Load => ({
      store,
      concurrency,
      jobs: Math.ceil(jobs(concurrency) * part),
      key,
    });
    for (const { workers: own } of workers) await own.warmUp(load(50, KEYS[DISTINCT] as Load['key']));

    for (const [keys, key] of Object.entries(KEYS)) {
      const results: Measured[][] = [];
      for (const concurrency of concurrencies) {
        const contenders = workers.map(({ name, workers: own }) => ({
          name,
          run: () => own.run(load(concurrency, key)),
        }));
        const measured = await measure(contenders, rounds);
        results.push(measured);
        const ratios = measured.map(({ ratio: to }) => ratio(to['jobs/s'])).join(' ');
        console.error(`throughput, ${store}, ${keys}, concurrency ${concurrency}: ${ratios}`);
      }
      const at50 = results[concurrencies.indexOf(50)] as Measured[];
      report.push(
        `### ${store}, ${keys}`,
        table(
          [
            '',
            ...concurrencies.map(one => `at ${one}`),
            'jobs/s at 50',
            'worker µs/job at 50',
            'Redis µs/job at 50',
          ],
          at50.map((measured, i) => [
            measured.name,
            ...results.map(result => ratio(result[i]?.ratio['jobs/s'])),
            whole(measured.median['jobs/s']),
            whole(measured.median['worker µs/job']),
            whole(measured.median['Redis µs/job']),
          ]),
        ),
      );
      if (store === 'ioredis' && keys === DISTINCT) {
        report.push(
          chart(
            'throughput',
            'Throughput of a worker of 50, relative to no guard',
            at50.map(({ name, ratio }) => ({ name, value: ratio['jobs/s'] ?? 0 })),
          ),
        );
      }
    }
    for (const { workers: own } of workers) own.close();
  }
  return report;
}
