/** A cache as a process has it that may crash: then none of its steps reaches the store, and no answer comes back. */

import type {
  Batch,
  BatchResults,
  EnterResult,
  EnterStep,
  LeaveResult,
  LeaveStep,
  LockCache,
  RenewStep,
} from '../../src/cache/contract.ts';

/** Sees what the store has decided, before the process that asked learns it. */
export interface StoreObserver {
  /** @param sentAt - when the process sent the step, on the monotonic clock. */
  entered(step: EnterStep, result: EnterResult, sentAt: number): void;
  /** The step found its token, and the process that asked learns it. */
  renewed(step: RenewStep, sentAt: number): void;
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
    const sentAt = performance.now();
    // What one process sends arrives in its order.
    this.#arrived = Promise.all([this.#pause(), this.#arrived]);
    await this.#arrived;
    if (this.#isDead) return new Promise(() => {});
    const answer = await send();
    this.#observeLine(name, steps, answer, sentAt);
    await this.#pause();
    if (this.#isDead) return new Promise(() => {});
    this.#observeRenewals(name, steps, answer, sentAt);
    return answer;
  }

  #observeLine(name: string | symbol, steps: unknown, answers: unknown, sentAt: number): void {
    if (name === 'enter')
      eachAnswered<EnterStep, EnterResult>(steps, answers, (step, result) =>
        this.#observer.entered(step, result, sentAt),
      );
    else if (name === 'leave')
      eachAnswered<LeaveStep, LeaveResult>(steps, answers, (step, result) =>
        this.#observer.left(step, result),
      );
  }

  #observeRenewals(name: string | symbol, steps: unknown, answers: unknown, sentAt: number): void {
    const renewed = (step: RenewStep, isHeld: boolean) => isHeld && this.#observer.renewed(step, sentAt);
    if (name === 'renew') eachAnswered(steps, answers, renewed);
    else if (name === 'exchange')
      eachAnswered((steps as Batch).renewals, (answers as BatchResults).renewed, renewed);
  }
}

function eachAnswered<Step, Answer>(
  steps: unknown,
  answers: unknown,
  see: (step: Step, answer: Answer) => void,
): void {
  for (const [i, answer] of (answers as readonly (Answer | Error)[]).entries()) {
    if (!(answer instanceof Error)) see((steps as readonly Step[])[i] as Step, answer);
  }
}
