/** A cache as a process has it that may crash: then none of its steps reaches the store, and no answer comes back. */

import type { EnterResult, EnterStep, LeaveResult, LeaveStep, LockCache } from '../../src/cache/contract.ts';

/** Sees what the store has decided, before the process that asked learns it. */
export interface StoreObserver {
  entered(step: EnterStep, result: EnterResult): void;
  left(step: LeaveStep, result: LeaveResult): void;
}

export class MortalCache {
  /** Of the class of the store. */
  readonly cache: LockCache;
  readonly #pause: () => Promise<void>;
  readonly #observer: StoreObserver;
  #isDead = false;
  /** Resolves when all steps have arrived that were sent so far. */
  #arrived: Promise<unknown> = Promise.resolve();

  /** @param pause - holds a step up, before it reaches the store and before its answer comes back. */
  constructor(store: LockCache, pause: () => Promise<void>, observer: StoreObserver) {
    this.#pause = pause;
    this.#observer = observer;
    this.cache = new Proxy(store, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== 'function') return value;
        // These two answer at once.
        if (name === 'listen' || name === 'list') return value.bind(target);
        return (...args: unknown[]) => this.#step(name, args, () => value.apply(target, args));
      },
    });
  }

  die(): void {
    this.#isDead = true;
  }

  async #step(name: string | symbol, [steps]: unknown[], send: () => Promise<unknown>): Promise<unknown> {
    // What one process sends arrives in its order.
    this.#arrived = Promise.all([this.#pause(), this.#arrived]);
    await this.#arrived;
    if (this.#isDead) return new Promise(() => {});
    const answer = await send();
    this.#observe(name, steps as never, answer as never);
    await this.#pause();
    return this.#isDead ? new Promise(() => {}) : answer;
  }

  #observe(name: string | symbol, steps: readonly never[], answers: readonly (Error | never)[]): void {
    if (name !== 'enter' && name !== 'leave') return;
    const observe = name === 'enter' ? this.#observer.entered : this.#observer.left;
    for (const [i, answer] of answers.entries()) {
      if (!((answer as unknown) instanceof Error))
        observe.call(this.#observer, steps[i] as never, answer as never);
    }
  }
}
