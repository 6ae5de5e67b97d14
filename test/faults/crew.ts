/** The worker processes of a queue. */

import { setTimeout as delay } from 'node:timers/promises';
import { Child } from '../support/child.ts';
import type { Recorder } from './history.ts';
import type { Orders, Told } from './worker.ts';

const WORKER = new URL('./worker.ts', import.meta.url);
/** How long a worker that was told to stop may take, in ms. */
const PATIENCE = 30_000;
const HANGS = 'not at all';

export class Crew {
  readonly #orders: Orders;
  readonly #recorder: Recorder;
  readonly #members: Child[] = [];

  constructor(orders: Orders, recorder: Recorder) {
    this.#orders = orders;
    this.#recorder = recorder;
  }

  get members(): readonly Child[] {
    return this.#members;
  }

  /** Starts some more. */
  async join(count: number): Promise<void> {
    const newcomers = Array.from({ length: count }, () => new Child(WORKER, this.#orders));
    this.#members.push(...newcomers);
    await Promise.all(newcomers.map(child => child.hears('ready')));
  }

  tell(member: Child, told: Told): void {
    member.tell(told);
  }

  /** A process that ends from one moment to the next. */
  async kill(member: Child): Promise<void> {
    await member.kill();
    this.#recorder.write({ event: 'killed', of: member.pid });
    this.#members.splice(this.#members.indexOf(member), 1);
  }

  /**
   * Tells all to stop, and waits for their processes to end by themselves.
   * @param mayHang - one that does not is no news.
   */
  async stop(mayHang: boolean): Promise<void> {
    await Promise.all(this.#members.splice(0).map(member => this.#stop(member, mayHang)));
  }

  async #stop(member: Child, mayHang: boolean): Promise<void> {
    if (member.alive) this.tell(member, { stop: true });
    const how = await Promise.race([member.ended(), delay(PATIENCE, HANGS, { ref: false })]);
    if (how === 0) return;
    await member.kill();
    if (mayHang && how === HANGS) return;
    this.#recorder.write({
      event: 'unhandled',
      problem: `process ${member.pid} was to end, and ended: ${how}`,
    });
  }
}
