/** How many no-op jobs a worker ends a second under each guard, on each client, at each concurrency. */

import { guards } from '../guards.ts';
import { type Measured, measure } from '../measure.ts';
import { chart, type Report, ratio, table, whole } from '../report.ts';
import type { Settings } from '../settings.ts';
import { type Load, Workers } from '../workers.ts';

const KEYS: Record<string, Load['key']> = {
  'all keys distinct': n => `key-${n}`,
  'half of the jobs duplicates of their neighbours': n => `key-${n >> 1}`,
  'one hot key': () => 'key',
};
const CONCURRENCIES = [1, 10, 50, 200];

export async function throughput({ url, rounds, jobs }: Settings): Promise<Report> {
  const report: Report = [
    '## A worker',
    'Jobs a second of one worker whose jobs do nothing, relative to the same worker without a guard.',
  ];
  for (const client of ['ioredis', 'node-redis'] as const) {
    const names = guards.filter(({ clients }) => clients.includes(client)).map(({ name }) => name);
    const workers = names.map(name => ({ name, workers: new Workers(url, name) }));
    const load = (concurrency: number, key: Load['key']): Load => ({
      client,
      concurrency,
      jobs: jobs(concurrency),
      key,
    });
    for (const { workers: own } of workers) await own.run(load(50, KEYS['all keys distinct'] as Load['key']));

    for (const [keys, key] of Object.entries(KEYS)) {
      // The other keys and the other client show no more than this at other concurrencies.
      const concurrencies = client === 'ioredis' ? CONCURRENCIES : [50];
      const results: Measured[][] = [];
      for (const concurrency of concurrencies) {
        const contenders = workers.map(({ name, workers: own }) => ({
          name,
          run: () => own.run(load(concurrency, key)),
        }));
        results.push(await measure(contenders, rounds));
        console.error(`throughput, ${client}, ${keys}, concurrency ${concurrency}`);
      }
      const at50 = results[concurrencies.indexOf(50)] as Measured[];
      report.push(
        `### ${client}, ${keys}`,
        table(
          [
            '',
            ...concurrencies.map(one => `at ${one}`),
            'jobs/s at 50',
            'worker µs/job at 50',
            'server µs/job at 50',
          ],
          at50.map((measured, i) => [
            measured.name,
            ...results.map(result => ratio(result[i]?.ratio['jobs/s'])),
            whole(measured.median['jobs/s']),
            whole(measured.median['worker µs/job']),
            whole(measured.median['server µs/job']),
          ]),
        ),
      );
      if (client === 'ioredis' && keys === 'all keys distinct') {
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
