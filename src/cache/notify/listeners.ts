/** Those in this process who wait for keys to become free. */

import type { Watch } from '../contract.ts';

export class Ears {
  readonly #ears = new Map<string, Set<() => void>>();

  /** Whether anyone listens for the key. */
  has(key: string): boolean {
    return this.#ears.has(key);
  }

  get size(): number {
    return this.#ears.size;
  }

  /** @param closed - called when the last that listened for the key has stopped. */
  open(key: string, tell: () => void, closed?: () => void): Watch {
    const ears = this.#ears.get(key) ?? new Set();
    this.#ears.set(key, ears);
    // A function of its own, as the same may be given twice.
    const ear = () => tell();
    ears.add(ear);
    return {
      listens: true,
      stop: () => {
        if (!ears.delete(ear) || ears.size > 0) return;
        this.#ears.delete(key);
        closed?.();
      },
    };
  }

  tell(key: string): void {
    for (const ear of this.#ears.get(key) ?? []) ear();
  }

  tellAll(): void {
    for (const key of [...this.#ears.keys()]) this.tell(key);
  }
}
