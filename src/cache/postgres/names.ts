/** The tables and functions of a schema. */

export interface Names {
  /** Who holds each key. */
  readonly locks: string;
  /** Who is parked for each key. */
  readonly line: string;
  /** Which owner acquired each key last, of the line `'newest'`. */
  readonly lastRun: string;
  /** How many duplicates of each queue had which outcome, by the minute. */
  readonly journalCounts: string;
  /** What became of the last duplicates of each queue. */
  readonly journalDuplicates: string;
  /** Does one step. */
  readonly step: string;
  /** Does a batch of steps. */
  readonly exchange: string;
  /** Does a batch of steps on lines and places. */
  readonly takeLineSteps: string;
  readonly enter: string;
  readonly leave: string;
  readonly strikeOut: string;
  readonly isOlder: string;
  readonly endPlace: string;
  readonly forceRelease: string;
  readonly sweep: string;
}

/**
 * Quoted, with their schema. The name of a function ends in its version: releases of this package with different versions of it can
 * share a database.
 */
export function namesIn(schema: string): Names {
  const inSchema = (name: string) => `${quote(schema)}.${name}`;
  return {
    locks: inSchema('once_lock'),
    line: inSchema('once_line'),
    lastRun: inSchema('once_last_run'),
    journalCounts: inSchema('once_journal_count'),
    journalDuplicates: inSchema('once_journal_duplicate'),
    step: inSchema('once_step_2'),
    exchange: inSchema('once_exchange_3'),
    takeLineSteps: inSchema('once_line_1'),
    enter: inSchema('once_enter_1'),
    leave: inSchema('once_leave_1'),
    strikeOut: inSchema('once_strike_out_1'),
    isOlder: inSchema('once_is_older_1'),
    endPlace: inSchema('once_end_place_1'),
    forceRelease: inSchema('once_force_release_1'),
    sweep: inSchema('once_sweep_1'),
  };
}

/** Quoted, a name keeps its capitals. It is a plain one: nothing in it needs an escape. */
export function quote(name: string): string {
  return `"${name}"`;
}
