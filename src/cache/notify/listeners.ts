/** The listeners of this process: callbacks by the key whose release they listen to. */

import type { Listener } from '../contract.ts';

export class Listeners {
  readonly #callbacks = new Map<string, Set<() => void>>();

  /** Whether anyone listens to the key. */
  has(storedKey: string): boolean {
    return this.#callbacks.has(storedKey);
  }

  /** The keys that have listeners. */
  get storedKeys(): Iterable<string> {
    return this.#callbacks.keys();
  }

  /** How many keys have listeners. */
  get size(): number {
    return this.#callbacks.size;
  }

  /** @param onLast - called when the last listener of the key has stopped. */
  add(storedKey: string, onRelease: () => void, onLast?: () => void): Listener {
    const callbacks = this.#callbacks.get(storedKey) ?? new Set();
    this.#callbacks.set(storedKey, callbacks);
    // A function of its own, because one callback may be added twice.
    const callback = () => onRelease();
    callbacks.add(callback);
    return {
      isListening: true,
      stop: () => {
        if (!callbacks.delete(callback) || callbacks.size > 0) return;
        this.#callbacks.delete(storedKey);
        onLast?.();
      },
    };
  }

  notify(storedKey: string): void {
    for (const callback of this.#callbacks.get(storedKey) ?? []) callback();
  }

  notifyAll(): void {
    for (const storedKey of [...this.#callbacks.keys()]) this.notify(storedKey);
  }
}
