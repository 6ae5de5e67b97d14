/** What it costs to hold many locks: memory, and the calls and the CPU of their renewals. */

import { ask, startChild } from '../child.ts';
import type { HeldTask } from '../held-process.ts';
import { type Contender, type Figures, measure } from '../measure.ts';
import { figure, type Report, table, whole } from '../report.ts';
import type { Settings } from '../settings.ts';

/** Short, so that each lock is renewed several times while it is measured. */
const TTL = 6_000;
const COUNTS = [
  { holder: 'bullmq-once', count: 10_000 },
  { holder: 'bullmq-once', count: 100_000 },
  { holder: 'redis-semaphore', count: 10_000 },
] as const;

export async function held({ servers, rounds, scale }: Settings): Promise<Report> {
  const contenders = COUNTS.map(({ holder, count }): Contender => {
    const task: HeldTask = {
      holder,
      count: Math.ceil(count / scale),
      ttl: scale > 1 ? TTL / 10 : TTL,
      redisUrl: servers.redis,
    };
    return {
      name: `${holder}, ${whole(count)} locks`,
      run: () => ask<Figures>(startChild('held-process.js'), `the locks of ${holder}`, task),
    };
  });
  const measured = await measure(contenders, rounds);
  const columns = Object.keys(measured[0]?.figures ?? {});
  return [
    '## Many locks held',
    `Locks with a ttl of ${TTL / 1000} s, held by one process for twice that time. Each run has a process of its own, which warms up ` +
      'with a tenth of the locks. CPU and calls are those of the renewals.',
    table(
      ['', ...columns],
      measured.map(({ name, figures }) => [name, ...columns.map(column => figure(figures[column]))]),
    ),
  ];
}
