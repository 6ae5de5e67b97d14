/**
 * Lets those who wait for a cache continue, in groups. If they all continued at once, the jobs of one batch would end, be reported to
 * the server and be answered together again and again: client and server would wait for each other by turns, and a worker without
 * other work would lose a tenth of its throughput.
 *
 * What a group of many writes leaves as one packet, where the cache can hold it back: a write to a socket takes a worker longer than
 * all that a lock does for a job.
 */

import { setImmediate } from '../../core/timers.ts';
import type { HoldWrites } from '../contract.ts';

/** How many continue together at most. Measured: half of it and twice of it are no better. */
const MAX_GROUP = 8;

/**
 * Calls `resume` for each item, a group in each turn of the event loop: at once for the first group, so that a lone one never waits.
 * @param holdWrites - absent where nothing can be held back.
 */
export function resumeInGroups<Item>(
  items: readonly Item[],
  resume: (item: Item, i: number) => void,
  holdWrites: HoldWrites | undefined,
): void {
  const count = items.length;
  const hold = ofMany(count, holdWrites);
  const size = hold ? sizeOfGroup(count) : MAX_GROUP;
  let next = 0;
  function resumeGroup(): void {
    hold?.();
    const end = Math.min(next + size, count);
    for (; next < end; next++) resume(items[next] as Item, next);
    if (next < count) setImmediate(resumeGroup);
  }
  resumeGroup();
}

/**
 * Calls `resume` for each item in this turn of the event loop, where others are too late for them. Where nothing can be held back, all
 * are one group.
 */
export async function resumeInThisTurn<Item>(
  items: readonly Item[],
  resume: (item: Item) => void,
  holdWrites: HoldWrites | undefined,
): Promise<void> {
  const hold = ofMany(items.length, holdWrites);
  const size = hold ? sizeOfGroup(items.length) : items.length;
  for (let next = 0; next < items.length; next += size) {
    const written = hold?.();
    for (const item of items.slice(next, next + size)) resume(item);
    await written;
  }
}

/** What few write is not held back: the server begins with the first while the others prepare theirs. */
function ofMany(count: number, holdWrites: HoldWrites | undefined): HoldWrites | undefined {
  return count < MAX_GROUP ? undefined : holdWrites;
}

/** Two groups at least: while the server works on one, the next prepares what it writes. */
function sizeOfGroup(count: number): number {
  return Math.min(Math.ceil(count / 2), MAX_GROUP);
}
