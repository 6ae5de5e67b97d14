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

/** How many continue together at most. Measured: half of it and twice of it are no better. Fewer are one group. */
const MAX_GROUP = 8;

/** Lets one who waits continue. */
export type Resume = () => void;

/**
 * Lets all continue, a group in each turn of the event loop: at once the first group, so that a lone one never waits.
 * @param holdWrites - absent where nothing can be held back. What few write is not: the server begins with the first while the others
 * prepare theirs.
 */
export function resumeInGroups(resumes: readonly Resume[], holdWrites: HoldWrites | undefined): void {
  const count = resumes.length;
  const areFew = count < MAX_GROUP;
  // Two groups at least: while the server works on one, the next prepares what it writes.
  const size = areFew ? count : Math.min(Math.ceil(count / 2), MAX_GROUP);
  const hold = areFew ? undefined : holdWrites;
  let next = 0;
  function resumeGroup(): void {
    hold?.();
    const end = Math.min(next + size, count);
    while (next < end) resumes[next++]?.();
    if (next < count) setImmediate(resumeGroup);
  }
  resumeGroup();
}
