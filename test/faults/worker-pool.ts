/** The worker processes of a queue. */

import { setTimeout as delay } from 'node:timers/promises';
import { Child } from '../support/child.ts';
import type { Recorder } from './history.ts';
import type { WorkerMessage, WorkerSettings } from './worker.ts';

const WORKER = new URL('./worker.ts', import.meta.url);
/** How long a worker that was asked to stop may take, in ms. */
const MAX_STOP_MS = 30_000;
const HANGS = 'not at all';

export class WorkerPool {
  #settings: WorkerSettings;
  readonly #recorder: Recorder;
  readonly #workers: Child[] = [];

  constructor(settings: WorkerSettings, recorder: Recorder) {
    this.#settings = settings;
    this.#recorder = recorder;
  }

  get workers(): readonly Child[] {
    return this.#workers;
  }

  /** Starts more workers. */
  async start(count: number): Promise<void> {
    const started = Array.from({ length: count }, () => new Child(WORKER, this.#settings));
    this.#workers.push(...started);
    await Promise.all(started.map(worker => worker.message('ready')));
  }

  send(worker: Child, message: WorkerMessage): void {
    worker.send(message);
  }

  /** The options of the guard that new workers get. */
  get options(): WorkerSettings['options'] {
    return this.#settings.options;
  }

  /** Replaces all workers by ones with other options, as a deploy does: new ones start while the old ones end their jobs. */
  async deploy(options: WorkerSettings['options']): Promise<void> {
    this.#settings = { ...this.#settings, options };
    const old = this.#workers.splice(0);
    for (const worker of old) worker.signal('SIGTERM');
    await Promise.all([this.start(old.length), ...old.map(worker => this.#ends(worker, { mayHang: false }))]);
  }

  /** Ends a process from one moment to the next. */
  async kill(worker: Child): Promise<void> {
    await worker.kill();
    this.#recorder.record({ event: 'killed', of: worker.pid });
    this.#workers.splice(this.#workers.indexOf(worker), 1);
  }

  /**
   * Asks all workers to stop, and waits for their processes to end by themselves.
   * @param mayHang - a process that does not end is no violation.
   */
  async stop({ mayHang }: { mayHang: boolean }): Promise<void> {
    const workers = this.#workers.splice(0);
    for (const worker of workers) if (worker.alive) this.send(worker, { stop: true });
    await Promise.all(workers.map(worker => this.#ends(worker, { mayHang })));
  }

  async #ends(worker: Child, { mayHang }: { mayHang: boolean }): Promise<void> {
    const end = await Promise.race([worker.ended(), delay(MAX_STOP_MS, HANGS, { ref: false })]);
    if (end === 0) return;
    await worker.kill();
    if (mayHang && end === HANGS) return;
    this.#recorder.record({
      event: 'unhandled',
      problem: `process ${worker.pid} was asked to stop, and ended: ${end}`,
    });
  }
}
