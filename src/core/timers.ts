/** Timers that take any delay. */

/** The longest delay of a timer. A longer one would fire at once. */
const MAX_DELAY_MS = 2 ** 31 - 1;

/** A delay that a timer can take: a longer one counts as 24 days. */
export function timerDelay(ms: number): number {
  return Math.min(Math.max(Math.ceil(ms), 0), MAX_DELAY_MS);
}
