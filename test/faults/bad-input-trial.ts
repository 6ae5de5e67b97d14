/** Tries many random choices of bad input with every kind of cache. */

import { CHECKS } from './bad-input.ts';
import { CHECKS_OF_LINES } from './bad-input-of-lines.ts';
import { openTargets } from './targets.ts';
import type { Trial } from './trial.ts';

export const BAD_INPUT: Trial = {
  name: 'bad input',
  async play(random, scale) {
    const targets = await openTargets();
    const choices = { seed: random.between(0, 2 ** 31 - 1), numRuns: Math.ceil(2000 / scale) };
    const violations: string[] = [];
    for (const [what, check] of Object.entries({ ...CHECKS, ...CHECKS_OF_LINES })) {
      await check(targets, choices).catch(error => violations.push(`bad input ${what}: ${error.message}`));
    }
    for (const target of targets) await target.close();
    return { figures: `${choices.numRuns} random choices for each of ${targets.length} caches`, violations };
  },
};
