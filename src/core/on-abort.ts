/** Acts when a signal aborts. All who wait for one signal share a listener: Node takes many listeners of one signal for a leak. */

import { getOrCreate } from './get-or-create.ts';

class Actions {
  readonly #signal: AbortSignal;
  readonly #actions = new Set<() => void>();

  constructor(signal: AbortSignal) {
    this.#signal = signal;
    signal.addEventListener('abort', this.#actAll);
  }

  add(act: () => void): void {
    this.#actions.add(act);
  }

  delete(act: () => void): void {
    this.#actions.delete(act);
    if (this.#actions.size > 0) return;
    this.#signal.removeEventListener('abort', this.#actAll);
    ofSignals.delete(this.#signal);
  }

  readonly #actAll = (): void => {
    for (const act of [...this.#actions]) act();
  };
}

const ofSignals = new WeakMap<AbortSignal, Actions>();

/**
 * Acts when a signal aborts, if it has not aborted yet.
 * @returns a function that ends this.
 */
export function onAbort(signal: AbortSignal, act: () => void): () => void {
  const actions = getOrCreate(ofSignals, signal, () => new Actions(signal));
  actions.add(act);
  return () => actions.delete(act);
}
