/** The tables and functions of a schema. */

/** The schema that BullMQ's PostgreSQL backend uses unless it is told another. */
export const DEFAULT_SCHEMA = 'bullmq';

export interface Names {
  /** Who holds each key. */
  readonly locks: string;
  /** Who is parked for each key. */
  readonly line: string;
  /** Which owner acquired each key last, of the line `'newest'`. */
  readonly lastRun: string;
  /** The result of the work that was done last for each key, where it is kept. */
  readonly result: string;
  /** Those of the line `'together'` that share such a result, and have not come for it yet. */
  readonly answered: string;
  /** How many duplicates of each queue had which outcome, by the minute. */
  readonly journalCounts: string;
  /** What became of the last duplicates of each queue. */
  readonly journalDuplicates: string;
  /** Does one acquisition. */
  readonly acquire: string;
  /** Does one release that keeps nothing. */
  readonly release: string;
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
  /** Keeps a result. */
  readonly keep: string;
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
    result: inSchema('once_result'),
    answered: inSchema('once_answered'),
    acquire: inSchema('once_acquire_1'),
    release: inSchema('once_release_2'),
    step: inSchema('once_step_3'),
    exchange: inSchema('once_exchange_5'),
    takeLineSteps: inSchema('once_line_3'),
    enter: inSchema('once_enter_3'),
    leave: inSchema('once_leave_2'),
    strikeOut: inSchema('once_strike_out_1'),
    isOlder: inSchema('once_is_older_1'),
    endPlace: inSchema('once_end_place_1'),
    keep: inSchema('once_keep_1'),
    forceRelease: inSchema('once_force_release_2'),
    sweep: inSchema('once_sweep_2'),
  };
}

/** Quoted, a name keeps its capitals. It is a plain one: nothing in it needs an escape. */
export function quote(name: string): string {
  return `"${name}"`;
}
