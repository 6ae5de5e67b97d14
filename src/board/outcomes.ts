/** Counts what became of duplicates, over the last half hour. There is no timer: what is old is forgotten as new comes. */

import { type Fate, isFate, type LockEventType } from '../events/events.ts';

/** In ms. */
const SPAN = 30_000;
const SPANS = 60;

/** How many there were in the half minute that began at `at`, in ms since the epoch. */
export type Count = { readonly at: number } & Record<Fate, number>;

export class Fates {
  #counts: Count[] = [];

  /** Other events are not counted. */
  count(type: LockEventType): void {
    if (!isFate(type)) return;
    const at = spanOf(Date.now());
    let last = this.#counts.at(-1);
    if (last?.at !== at) {
      last = none(at);
      this.#counts = [...this.#counts.slice(1 - SPANS), last];
    }
    last[type]++;
  }

  /** Those of the last half hour, a count for each half minute. */
  counts(): Count[] {
    const now = spanOf(Date.now());
    return Array.from({ length: SPANS }, (_, i) => {
      const at = now - (SPANS - 1 - i) * SPAN;
      return this.#counts.find(count => count.at === at) ?? none(at);
    });
  }
}

function spanOf(time: number): number {
  return Math.floor(time / SPAN) * SPAN;
}

function none(at: number): Count {
  return { at, skipped: 0, raised: 0, retried: 0, kept: 0 };
}
