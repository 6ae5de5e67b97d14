/**
 * Runs workers in processes of their own, which stay warm from round to round, over queues that are filled before. A process
 * has an advantage or a handicap of some percent for as long as it lives, so several sets of processes take turns.
 */

import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { Redis } from 'ioredis';
import { ask, startChild } from './child.ts';
import type { Figures } from './measure.ts';
import { serverStats } from './server-stats.ts';
import { queueOn, type Servers, type Store } from './stores.ts';
import type { Outcome, Task } from './worker-process.ts';

/** So many jobs bring back most of what a process needs. */
const MAX_JOBS_BEFORE = 4000;

/** The jobs of one queue. */
export interface Load {
  readonly store: Store;
  readonly concurrency: number;
  readonly jobs: number;
  /** The key of the nth job. */
  readonly key: (n: number) => string;
}

export class Workers {
  readonly #servers: Servers;
  readonly #seenByWorkers: Servers;
  readonly #redis: Redis;
  readonly #guard: string;
  readonly #sets: ChildProcess[][];
  readonly #id = randomUUID();
  #runs = 0;

  /**
   * @param processes - how many processes of a set share a queue.
   * @param seenByWorkers - the servers' addresses for the workers, where theirs are others.
   */
  constructor(
    servers: Servers,
    guard: string,
    {
      sets,
      processes = 1,
      seenByWorkers = servers,
    }: { sets: number; processes?: number; seenByWorkers?: Servers },
  ) {
    this.#servers = servers;
    this.#seenByWorkers = seenByWorkers;
    this.#guard = guard;
    this.#redis = new Redis(servers.redis);
    this.#sets = Array.from({ length: sets }, () =>
      Array.from({ length: processes }, () => startChild('worker-process.js')),
    );
  }

  /**
   * Lets each set work, so that none is cold when it is measured.
   * @param times - V8 needs some ten thousand jobs to optimise a guard of many small functions.
   */
  async warmUp(load: Load, times = 1): Promise<void> {
    for (let i = 0; i < this.#sets.length * times; i++) await this.#run(load, i % this.#sets.length);
  }

  /**
   * Jobs that are not measured come before: the processes have been idle while others worked, and a machine may take the memory of an idle
   * process away. Without them eight contenders that take turns are all slower than three, and the larger ones most.
   * @returns jobs per second, and microseconds of CPU a job: the workers' and Redis'.
   */
  async run(load: Load): Promise<Figures> {
    const turn = this.#runs++ % this.#sets.length;
    await this.#run({ ...load, jobs: Math.min(load.jobs, MAX_JOBS_BEFORE) }, turn);
    return this.#run(load, turn);
  }

  async #run({ store, concurrency, jobs, key }: Load, turn: number): Promise<Figures> {
    const set = this.#sets[turn] as ChildProcess[];
    // One name for all that one worker can run.
    const queue = `bench-${this.#id}-${turn}-${store}-${concurrency}`;
    await this.#fill(store, queue, jobs, key);
    const before = await serverStats(this.#redis);
    const task: Task = { guard: this.#guard, store, servers: this.#seenByWorkers, queue, concurrency };
    const outcomes = await Promise.all(
      set.map(child => ask<Outcome>(child, `workers under '${this.#guard}'`, task)),
    );
    const after = await serverStats(this.#redis);
    const ended = outcomes.reduce((sum, outcome) => sum + outcome.jobs, 0);
    if (ended !== jobs) throw new Error(`under '${this.#guard}' ${ended} of ${jobs} jobs ended`);
    return {
      'jobs/s': (ended * 1000) / Math.max(...outcomes.map(({ took }) => took)),
      'worker µs/job': outcomes.reduce((sum, { cpu }) => sum + cpu, 0) / ended,
      'Redis µs/job': (after.cpu - before.cpu) / ended,
    };
  }

  close(): void {
    for (const child of this.#sets.flat()) child.kill();
    this.#redis.disconnect();
  }

  async #fill(store: Store, name: string, jobs: number, key: (n: number) => string): Promise<void> {
    const queue = queueOn(store, this.#servers, name);
    for (let from = 0; from < jobs; from += 1000) {
      const some = Array.from({ length: Math.min(1000, jobs - from) }, (_, i) => ({
        name: 'job',
        data: { key: key(from + i) },
        opts: { removeOnComplete: true },
      }));
      await queue.addBulk(some);
    }
    await queue.close();
  }
}
