/** What is tried beside faults: load, and bad input. */

import type { Random } from './random.ts';

export interface Trial {
  readonly name: string;
  /** @param scale - by how much less is done than all. */
  play(random: Random, scale: number): Promise<Tried>;
}

export interface Tried {
  /** What was done, and what it took. */
  readonly figures: string;
  readonly violations: readonly string[];
}
