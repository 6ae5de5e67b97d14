/** The clocks of one machine: they run at their own speed, and its wall clock may jump. */

import type { Scheduler } from './scheduler.ts';

/** When a history begins, by the wall clock of a machine whose clock is right. */
export const EPOCH = 1_800_000_000_000;

export class Clock {
  readonly #scheduler: Scheduler;
  /** How many ms it counts in a ms of virtual time. */
  readonly rate: number;
  readonly #offset: number;
  #jumped = 0;

  /** @param offset - how far its wall clock is ahead, in ms. */
  constructor(scheduler: Scheduler, { rate = 1, offset = 0 }: { rate?: number; offset?: number } = {}) {
    this.#scheduler = scheduler;
    this.rate = rate;
    this.#offset = offset;
  }

  /** The monotonic clock, in ms. */
  monotonic(): number {
    return 1000 + this.#scheduler.now * this.rate;
  }

  /** The wall clock, in whole ms. */
  wall(): number {
    return Math.floor(EPOCH + this.#offset + this.#jumped + this.#scheduler.now * this.rate);
  }

  /** @param ms - ahead; a negative number sets the wall clock back. */
  jump(ms: number): void {
    this.#jumped += ms;
  }
}
