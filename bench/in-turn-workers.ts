/** Runs workers in one of the ways of `in-turn.ts`, in processes that stay warm from round to round, as `workers.ts` does. */

import type { ChildProcess } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { ask, startChild } from './child.ts';
import { type InTurn, type KeyedData, wayNamed } from './in-turn.ts';
import type { InTurnOutcome, InTurnTask, Ran, Request } from './in-turn-process.ts';
import { serverStats } from './server-stats.ts';

const POLL_MS = 20;
/** Without progress for so long, a run has failed. */
const STUCK_MS = 60_000;

export interface InTurnLoad {
  /** The slots of each process. */
  readonly concurrency: number;
  readonly jobs: readonly KeyedData[];
  readonly workMs: number;
}

/** What a run was. Times are in ms, and count from the start of its workers. */
export interface InTurnRun {
  /** In the order in which they started. */
  readonly ran: readonly Ran[];
  readonly took: number;
  /** CPU time in microseconds. */
  readonly workerCpu: number;
  readonly redisCpu: number;
}

export class InTurnWorkers {
  readonly #way: InTurn;
  readonly #url: string;
  readonly #redis: Redis;
  readonly #sets: ChildProcess[][];
  #runs = 0;

  /** @param processes - how many processes of a set share a queue. */
  constructor(redisUrl: string, way: string, { sets, processes = 1 }: { sets: number; processes?: number }) {
    this.#way = wayNamed(way);
    this.#url = redisUrl;
    this.#redis = new Redis(redisUrl);
    this.#sets = Array.from({ length: sets }, () =>
      Array.from({ length: processes }, () => startChild('in-turn-process.js')),
    );
  }

  /** Lets each set work once, so that none is cold when it is measured. */
  async warmUp(load: InTurnLoad): Promise<void> {
    for (const _ of this.#sets) await this.run(load);
  }

  async run({ jobs, ...load }: InTurnLoad): Promise<InTurnRun> {
    const { name } = this.#way;
    const set = this.#sets[this.#runs % this.#sets.length] as ChildProcess[];
    const queue = `turns-${process.pid}-${name.replace(/\W/g, '')}-${this.#runs++}`;
    await this.#way.fill(this.#url, queue, jobs);
    const task: InTurnTask = { way: name, redisUrl: this.#url, queue, ...load };
    const each = <Answer>(request: Request) =>
      Promise.all(set.map(child => ask<Answer>(child, `workers of '${name}'`, request)));
    await each({ do: 'prepare', task });
    const before = await serverStats(this.#redis);
    await each({ do: 'run' });
    await untilDone(() => each<{ done: number }>({ do: 'count' }), jobs.length, name);
    const after = await serverStats(this.#redis);
    const outcomes = await each<InTurnOutcome>({ do: 'stop' });
    await this.#redis.flushdb();

    const startedAt = Math.min(...outcomes.map(one => one.startedAt));
    const ran = outcomes
      .flatMap(one => one.ran)
      .map(one => ({
        ...one,
        startedAt: one.startedAt - startedAt,
        endedAt: one.endedAt - startedAt,
      }))
      .sort((a, b) => a.startedAt - b.startedAt);
    return {
      ran,
      took: ran.reduce((last, { endedAt }) => Math.max(last, endedAt), 0),
      workerCpu: outcomes.reduce((sum, { cpu }) => sum + cpu, 0),
      redisCpu: after.cpu - before.cpu,
    };
  }

  close(): void {
    for (const child of this.#sets.flat()) child.kill();
    this.#redis.disconnect();
  }
}

/** @throws Error no job has ended for long. */
export async function untilDone(
  counts: () => Promise<{ done: number }[]>,
  jobs: number,
  name: string,
): Promise<void> {
  let last = 0;
  let lastAt = performance.now();
  for (;;) {
    const done = (await counts()).reduce((sum, one) => sum + one.done, 0);
    if (done >= jobs) return;
    if (done > last) lastAt = performance.now();
    last = done;
    if (performance.now() - lastAt > STUCK_MS) {
      throw new Error(`by '${name}' ${done} of ${jobs} jobs ended, and no other for ${STUCK_MS / 1000} s`);
    }
    await delay(POLL_MS);
  }
}

/** The part of the pairs of jobs of one key of which the later one started first. */
export function outOfOrder(ran: readonly Ran[]): number {
  let pairs = 0;
  let wrong = 0;
  for (const ofKey of byKey(ran)) {
    for (const [i, { n }] of ofKey.entries()) {
      pairs += i;
      for (let before = 0; before < i; before++) if ((ofKey[before] as Ran).n > n) wrong++;
    }
  }
  return pairs === 0 ? 0 : wrong / pairs;
}

/** How many jobs started before the one before them on their key had ended. */
export function overlaps(ran: readonly Ran[]): number {
  let count = 0;
  for (const ofKey of byKey(ran)) {
    for (const [i, { startedAt }] of ofKey.entries()) {
      if (i > 0 && startedAt < (ofKey[i - 1] as Ran).endedAt) count++;
    }
  }
  return count;
}

function byKey(ran: readonly Ran[]): Iterable<Ran[]> {
  const keys = new Map<string, Ran[]>();
  for (const one of ran) {
    const ofKey = keys.get(one.key);
    if (ofKey) ofKey.push(one);
    else keys.set(one.key, [one]);
  }
  return keys.values();
}
