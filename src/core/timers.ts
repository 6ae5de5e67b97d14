/** The functions that schedule work, as they were when this module was loaded, and timers that take any delay. */

/**
 * Test frameworks replace these later (`jest.useFakeTimers()`), and then nothing that waits for a cache would go on until a test
 * moves its clock.
 */
export const nextTick: typeof process.nextTick = process.nextTick;
export const setImmediate: typeof globalThis.setImmediate = globalThis.setImmediate;
export const queueMicrotask: typeof globalThis.queueMicrotask = globalThis.queueMicrotask;

/** Resolves when what was collected in this turn of the event loop has been sent: its promise callbacks have run. */
export function endOfTurn(): Promise<void> {
  return new Promise(resolve => {
    nextTick(resolve);
  });
}

/** Resolves in the next turn of the event loop, after what was scheduled before for it. */
export function nextTurn(): Promise<void> {
  return new Promise(resolve => {
    setImmediate(resolve);
  });
}

/** The longest delay of a timer. A longer one would fire at once. */
const MAX_DELAY_MS = 2 ** 31 - 1;

/** A delay that a timer can take: a longer one counts as 24 days. */
export function timerDelay(ms: number): number {
  return Math.min(Math.max(Math.ceil(ms), 0), MAX_DELAY_MS);
}
