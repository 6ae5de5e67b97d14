/** How long a journal remembers, and how counts are added up. */

import type { JournalRecord, OutcomeCount } from './contract.ts';

export const MINUTE_MS = 60_000;
/** So many of the last duplicates of a queue are kept. */
export const MAX_DUPLICATES = 1000;
/** They are kept for so long after the last of them. */
export const DUPLICATES_LAST_MS: number = 7 * 24 * 3_600_000;
/** Counts are kept by the hour, for so many hours before the current one. */
export const HOURS = 24;
export const HOUR_MS = 3_600_000;

/** When the minute began, in ms since the epoch. */
export function minuteOf(at: number): number {
  return Math.floor(at / MINUTE_MS) * MINUTE_MS;
}

/** Adds up the counts of each minute and outcome. The earliest comes first, and those of a day ago are left out. */
export function addCounts(counts: readonly OutcomeCount[], now: number): OutcomeCount[] {
  const sums = new Map<string, OutcomeCount>();
  for (const one of counts) {
    if (one.minute < now - HOURS * HOUR_MS) continue;
    const name = `${one.minute} ${one.outcome}`;
    sums.set(name, { ...one, count: one.count + (sums.get(name)?.count ?? 0) });
  }
  return [...sums.values()].sort((a, b) => a.minute - b.minute || (a.outcome < b.outcome ? -1 : 1));
}

/** What is kept of a journal when another page is added. */
export function addPage(journal: JournalRecord, page: JournalRecord, now: number): JournalRecord {
  return {
    counts: addCounts([...journal.counts, ...page.counts], now),
    duplicates: [...journal.duplicates, ...page.duplicates].slice(-MAX_DUPLICATES),
  };
}
