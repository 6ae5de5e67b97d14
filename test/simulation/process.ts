/** One simulated process: its clocks, its timers, its randomness. It may stand still for a while, and it may die. */

import type { Random } from '../faults/random.ts';
import { Clock } from './clock.ts';
import type { Host, Timer } from './library.ts';
import type { Scheduler } from './scheduler.ts';

/** How a process is. */
export interface Machine {
  readonly rate: number;
  /** How far its wall clock is ahead, in ms. */
  readonly offset: number;
  /** How much later than asked its timers fire, in ms. Those of Node may be early by a part of a ms. */
  readonly lateness: number;
}

export class SimulatedProcess implements Host {
  readonly name: string;
  readonly clock: Clock;
  readonly scheduler: Scheduler;
  isAlive = true;
  /** It does nothing until then. */
  frozenUntil = 0;
  /** How many its workers have made: no two have the same. */
  tokens = 0;
  /** What it threw where nobody could catch it. */
  readonly onUncaught: (error: unknown) => void;
  readonly random: Random;
  readonly #lateness: number;

  constructor(
    name: string,
    scheduler: Scheduler,
    random: Random,
    { rate, offset, lateness }: Machine,
    onUncaught: (error: unknown) => void,
  ) {
    this.name = name;
    this.scheduler = scheduler;
    this.clock = new Clock(scheduler, { rate, offset });
    this.onUncaught = onUncaught;
    this.random = random;
    this.#lateness = lateness;
  }

  get isFrozen(): boolean {
    return this.scheduler.now < this.frozenUntil;
  }

  /** Runs a callback in the process: now, or when it goes on; never, once it is dead. */
  enter(run: () => void): void {
    if (!this.isAlive) return;
    if (this.isFrozen) {
      this.scheduler.at(this.frozenUntil, () => this.enter(run));
      return;
    }
    try {
      run();
    } catch (error) {
      this.onUncaught(error);
    }
  }

  /** @param ms - by the process's own clock. */
  after(ms: number, run: () => void): void {
    this.scheduler.after(ms / this.clock.rate, () => this.enter(run));
  }

  sleep(ms: number): Promise<void> {
    return new Promise(resolve => {
      this.setTimeout(resolve, ms);
    });
  }

  setTimeout(run: (...args: any[]) => void, ms = 0, ...args: unknown[]): Timer {
    const timer = newTimer();
    this.after(Math.max(nodeDelay(ms) + this.#lateness, 0.05), () => timer.isCleared || run(...args));
    return timer;
  }

  setInterval(run: () => void, ms: number): Timer {
    const timer = newTimer();
    const next = (): void => {
      this.after(nodeDelay(ms) + Math.max(this.#lateness, 0), () => {
        if (timer.isCleared) return;
        run();
        next();
      });
    };
    next();
    return timer;
  }

  setImmediate(run: (...args: any[]) => void, ...args: unknown[]): void {
    this.after(TURN_MS, () => run(...args));
  }

  nextTick(run: () => void): void {
    this.scheduler.nextTick(() => this.enter(run));
  }

  monotonic(): number {
    return this.clock.monotonic();
  }

  wall(): number {
    return this.clock.wall();
  }

  sleepUnlessAborted(
    ms: number,
    value: unknown,
    { signal }: { signal?: AbortSignal } = {},
  ): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const timer = this.setTimeout(() => resolve(value), ms);
      signal?.addEventListener('abort', () => {
        timer.isCleared = true;
        reject(signal.reason);
      });
    });
  }
}

/** How long a turn of the event loop takes, in ms. */
const TURN_MS = 0.03;

function newTimer(): Timer {
  const timer: Timer = { isCleared: false, unref: () => timer, ref: () => timer, hasRef: () => true };
  return timer;
}

function nodeDelay(ms: number): number {
  return ms >= 1 && ms <= 2 ** 31 - 1 ? Math.trunc(ms) : 1;
}
