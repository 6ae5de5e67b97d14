/**
 * Lets those who wait for a cache continue, a group in each turn of the event loop. If they all continued at once, the jobs of one
 * batch would end, be reported to the server and be answered together again and again: client and server would wait for each
 * other by turns, and a worker without other work would lose a tenth of its throughput.
 *
 * What a group of many writes leaves as one packet, where the cache can hold it back: a write to a socket takes a worker longer than
 * all that a lock does for a job.
 */

import { setImmediate } from '../../core/timers.ts';

/** How many continue in one turn at most. Measured: half of it and twice of it are no better. */
const MAX_GROUP = 8;

/**
 * Calls `resume` for each item: at once for the first group, so that a lone one never waits.
 * @param holdWrites - called before each group of many. Absent where nothing can be held back.
 */
export function resumeInGroups<Item>(
  items: readonly Item[],
  resume: (item: Item, i: number) => void,
  holdWrites: (() => void) | undefined,
): void {
  const count = items.length;
  // What few write is not held back: the server begins with the first while the others prepare theirs.
  const hold = count < MAX_GROUP ? undefined : holdWrites;
  // Two groups at least: while the server works on one, the next prepares what it writes.
  const size = hold ? Math.min(Math.ceil(count / 2), MAX_GROUP) : MAX_GROUP;
  let next = 0;
  function resumeGroup(): void {
    hold?.();
    const end = Math.min(next + size, count);
    for (; next < end; next++) resume(items[next] as Item, next);
    if (next < count) setImmediate(resumeGroup);
  }
  resumeGroup();
}
