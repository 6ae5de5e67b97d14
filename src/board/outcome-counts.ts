/**
 * Counts the outcomes of duplicates over the last half hour, in half minutes. There is no timer: old counts are dropped when
 * new ones come.
 */

import { isOutcome, type LockEventType, OUTCOMES, type Outcome } from '../events/events.ts';

const PERIOD_MS = 30_000;
const MAX_PERIODS = 60;

/** The outcomes of the half minute that began at `at`, in ms since the epoch. */
export type OutcomeCount = { readonly at: number } & Record<Outcome, number>;

export class OutcomeCounts {
  #counts: OutcomeCount[] = [];

  /** Counts an outcome. Events of other types are ignored. */
  count(type: LockEventType): void {
    if (isOutcome(type)) this.#current()[type]++;
  }

  /** One count for each half minute of the last half hour. */
  counts(): OutcomeCount[] {
    const current = startOfPeriod(Date.now());
    return Array.from({ length: MAX_PERIODS }, (_, i) => {
      const at = current - (MAX_PERIODS - 1 - i) * PERIOD_MS;
      return this.#counts.find(count => count.at === at) ?? emptyCount(at);
    });
  }

  #current(): OutcomeCount {
    const at = startOfPeriod(Date.now());
    const last = this.#counts.at(-1);
    if (last?.at === at) return last;
    const current = emptyCount(at);
    this.#counts = [...this.#counts.slice(1 - MAX_PERIODS), current];
    return current;
  }
}

function startOfPeriod(time: number): number {
  return Math.floor(time / PERIOD_MS) * PERIOD_MS;
}

function emptyCount(at: number): OutcomeCount {
  const zeros = Object.fromEntries(OUTCOMES.map(outcome => [outcome, 0])) as Record<Outcome, number>;
  return { at, ...zeros };
}
