/** Writes a history for people: its options, and a line for each thing that happened. */

import type { Plan } from './plan.ts';
import type { History } from './world.ts';

export function storyOf(plan: Plan, { trace, violations }: History): string {
  const { seed, options, cache, queues, worker, machines, client, latency } = plan;
  const off = machines.map(({ rate, offset }) => `×${rate.toFixed(3)} ${offset >= 0 ? '+' : ''}${offset} ms`);
  return [
    violations.length === 0 ? `seed ${seed}: no violation` : `seed ${seed}`,
    ...violations.map(({ guarantee, message }) => `guarantee ${guarantee}: ${message}`),
    `options  ${JSON.stringify(options)}`,
    `workers  ${JSON.stringify(worker)}, clocks ${off.join(', ')}`,
    `cache    ${cache}; queues: ${queues}; a client that ${client}; ${latency} ms one way`,
    ...trace,
  ].join('\n');
}
