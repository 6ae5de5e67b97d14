/** Workers of a test's queue in processes of their own, which a test can kill or suspend. */

import type { Bench, Setup } from '../support/bullmq.ts';
import { Child } from '../support/child.ts';

export interface WorkerProcessOptions {
  readonly ttl: number;
  readonly dedupeFor?: number;
  readonly holdThroughRetries?: boolean;
  /** It hangs after its work is done, so that BullMQ never learns of it. */
  readonly hangs?: boolean;
  readonly maxStalledCount?: number;
}

export class WorkerProcesses {
  readonly #bench: Bench;
  readonly #setup: Setup;
  readonly #children: Child[] = [];

  constructor(bench: Bench, setup: Setup) {
    this.#bench = bench;
    this.#setup = setup;
  }

  /** Starts a worker whose jobs have the key `k-{id}`. */
  async start({ hangs = false, maxStalledCount = 5, ...options }: WorkerProcessOptions): Promise<Child> {
    const child = new Child('worker.ts', {
      connection: this.#bench.queue.opts.connection,
      onPostgres: this.#setup.name.includes('PostgreSQL'),
      queueName: this.#bench.queueName,
      options: { key: 'k-{id}', ...options },
      hangs,
      worker: { lockDuration: 1000, stalledInterval: 200, maxStalledCount, concurrency: 2 },
    });
    this.#children.push(child);
    await child.message('ready');
    return child;
  }

  async killAll(): Promise<void> {
    await Promise.all(this.#children.splice(0).map(child => child.kill()));
  }
}
