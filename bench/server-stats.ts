/** What a Redis server reports of its own work. */

import type { Redis } from 'ioredis';

export interface ServerFigures {
  /** CPU time of the process, in microseconds. */
  readonly cpu: number;
  /** Script calls, and microseconds spent in them. */
  readonly scripts: number;
  readonly scriptMicros: number;
}

export async function serverStats(redis: Redis): Promise<ServerFigures> {
  const info = await redis.info('everything');
  const number = (name: RegExp) => Number(name.exec(info)?.[1] ?? 0);
  const calls = [...info.matchAll(/cmdstat_eval(?:sha)?:calls=(\d+),usec=(\d+)/g)];
  return {
    cpu: (number(/used_cpu_user:([\d.]+)/) + number(/used_cpu_sys:([\d.]+)/)) * 1e6,
    scripts: calls.reduce((sum, [, count]) => sum + Number(count), 0),
    scriptMicros: calls.reduce((sum, [, , micros]) => sum + Number(micros), 0),
  };
}
