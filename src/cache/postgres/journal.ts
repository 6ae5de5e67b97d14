/** The journals of queues in PostgreSQL: a table of counts by the minute, and one of the last duplicates. */

import type { DuplicateRecord, JournalPage, JournalRecord, OutcomeCount } from '../contract.ts';
import { addCounts, DUPLICATES_LAST_MS, HOUR_MS, HOURS, MAX_DUPLICATES } from '../journal-rules.ts';
import { type Names, namesIn } from './names.ts';
import { escapeNul } from './protocol.ts';

/** One call deletes so many rows of a kind at most. */
const MAX_SWEPT = 1000;

export function journalTablesSql({ journalCounts, journalDuplicates }: Names): string {
  return `
CREATE TABLE IF NOT EXISTS ${journalCounts} (
  queue   text COLLATE "C" NOT NULL,
  minute  bigint NOT NULL,       -- when it began, in ms since the epoch
  outcome text NOT NULL,
  count   bigint NOT NULL,
  PRIMARY KEY (queue, minute, outcome)
);
CREATE INDEX IF NOT EXISTS once_journal_count_minute ON ${journalCounts} (minute);

CREATE TABLE IF NOT EXISTS ${journalDuplicates} (
  id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  queue     text COLLATE "C" NOT NULL,
  at        bigint NOT NULL,     -- in ms since the epoch
  duplicate json NOT NULL
);
CREATE INDEX IF NOT EXISTS once_journal_duplicate_queue ON ${journalDuplicates} (queue, id);
CREATE INDEX IF NOT EXISTS once_journal_duplicate_at ON ${journalDuplicates} (at);
`;
}

/**
 * `$1` the queue; `$2` its counts as JSON; `$3` when its duplicates were, and `$6` what they are, each as JSON; `$4` and `$5` older counts and
 * duplicates are deleted. Nothing is read from the JSON of a duplicate here: it may have characters that PostgreSQL's strings can't have.
 */
export function writeJournalSql(schema: string): string {
  const { journalCounts, journalDuplicates } = namesIn(schema);
  return `
WITH counted AS (
  INSERT INTO ${journalCounts} AS known (queue, minute, outcome, count)
  SELECT $1, minute, outcome, count FROM json_to_recordset($2::json) AS added(minute bigint, outcome text, count bigint)
  -- In the same order everywhere: so of two processes one waits for the other.
  ORDER BY minute, outcome
  ON CONFLICT (queue, minute, outcome) DO UPDATE SET count = known.count + EXCLUDED.count
), old_counts AS (
  DELETE FROM ${journalCounts} WHERE (queue, minute, outcome) IN (
    SELECT queue, minute, outcome FROM ${journalCounts} WHERE minute < $4 LIMIT ${MAX_SWEPT} FOR UPDATE SKIP LOCKED)
), added AS (
  INSERT INTO ${journalDuplicates} (queue, at, duplicate)
  SELECT $1, at, duplicate::json FROM unnest($3::bigint[], $6::text[]) WITH ORDINALITY AS new(at, duplicate, nth) ORDER BY nth
)
DELETE FROM ${journalDuplicates} WHERE id IN (
  SELECT id FROM ${journalDuplicates}
  WHERE at < $5 OR queue = $1 AND id <= (
    SELECT id FROM ${journalDuplicates} WHERE queue = $1 ORDER BY id DESC OFFSET ${MAX_DUPLICATES} LIMIT 1)
  LIMIT ${MAX_SWEPT} FOR UPDATE SKIP LOCKED)`;
}

/** `$1` the queue. */
export function readJournalSql(schema: string): string {
  const { journalCounts, journalDuplicates } = namesIn(schema);
  return `
SELECT
  (SELECT json_agg(json_build_object('minute', minute, 'outcome', outcome, 'count', count))
   FROM ${journalCounts} WHERE queue = $1) AS counts,
  (SELECT json_agg(duplicate ORDER BY id DESC)
   FROM (SELECT id, duplicate FROM ${journalDuplicates} WHERE queue = $1 ORDER BY id DESC LIMIT ${MAX_DUPLICATES}) AS last
  ) AS duplicates`;
}

export function writeJournalPage({ queue, counts, duplicates }: JournalPage, now: number): unknown[] {
  return [
    escapeNul(queue),
    JSON.stringify(counts),
    duplicates.map(({ at }) => at),
    now - (HOURS + 1) * HOUR_MS,
    now - DUPLICATES_LAST_MS,
    duplicates.map(duplicate => JSON.stringify(duplicate)),
  ];
}

interface JournalRow {
  readonly counts: readonly OutcomeCount[] | null;
  readonly duplicates: readonly DuplicateRecord[] | null;
}

export function readJournalRow({ counts, duplicates }: JournalRow, now: number): JournalRecord {
  return { counts: addCounts(counts ?? [], now), duplicates: [...(duplicates ?? [])].reverse() };
}
