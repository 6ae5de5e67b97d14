/** What a Redis server reports of its own work. */

import type { Redis } from 'ioredis';

export interface ServerFigures {
  /** CPU time of the process, in microseconds. */
  readonly cpu: number;
  /** Calls of each command, by its name in lower case, and microseconds spent in them. */
  readonly commands: ReadonlyMap<string, { readonly calls: number; readonly micros: number }>;
  /** Bytes that the data and the server itself take. */
  readonly memory: number;
}

export async function serverStats(redis: Redis): Promise<ServerFigures> {
  const info = await redis.info('everything');
  const number = (name: RegExp) => Number(name.exec(info)?.[1] ?? 0);
  const commands = [...info.matchAll(/cmdstat_(\S+?):calls=(\d+),usec=(\d+)/g)];
  return {
    cpu: (number(/used_cpu_user:([\d.]+)/) + number(/used_cpu_sys:([\d.]+)/)) * 1e6,
    commands: new Map(
      commands.map(([, name = '', calls, micros]) => [
        name,
        { calls: Number(calls), micros: Number(micros) },
      ]),
    ),
    memory: number(/used_memory:(\d+)/),
  };
}

/** How many scripts were called. */
export function scriptCalls({ commands }: ServerFigures): number {
  return (commands.get('eval')?.calls ?? 0) + (commands.get('evalsha')?.calls ?? 0);
}
