/** What is tried beside the faults: load, and bad input. */

import type { Random } from './random.ts';

export interface Trial {
  readonly name: string;
  /** @param scale - 1 does all of it, 10 a tenth. */
  play(random: Random, scale: number): Promise<TrialResult>;
}

export interface TrialResult {
  /** What was done, and how long it took. */
  readonly figures: string;
  readonly violations: readonly string[];
}
