/** The SQL of the tables in which `PostgresCache` keeps locks and lines, and of the functions that decide on them. */

import { LINE_LASTS_MS } from '../line-rules.ts';
import { journalTablesSql } from './journal.ts';
import { lineFunctionsSql } from './line-sql.ts';
import { acquireFunctionSql, releaseFunctionSql } from './lone-sql.ts';
import { type Names, namesIn, quote } from './names.ts';
import {
  CHANNEL,
  MAX_ROW_WAIT_MS,
  notifySql,
  outlastSql,
  relaxCommitSql,
  stepSql,
  stepVariablesSql,
} from './step-sql.ts';

/** The key of the advisory lock that BullMQ's migrations take, with a hash of the schema's name: `BULL` as an integer. */
const BULLMQ_MIGRATION_LOCK = 0x42554c4c;

/** One call sweeps this many expired rows of a kind at most, so that it is over soon. */
export const MAX_SWEPT = 1000;

/** How long a line stays that nobody joins. Parked jobs come back by themselves, and join it again. */
const LINE_LASTS = `interval '${LINE_LASTS_MS} ms'`;

/**
 * The SQL that creates the tables and the functions. It may be run again, and by several at once. Sent as one query it is one
 * transaction.
 * @param schema - where to create them. A schema that is not there is created too, for which the role needs CREATE on the
 *   database.
 */
export function migrationSql(schema: string): string {
  const quoted = quote(schema);
  const names = namesIn(schema);
  return `
-- Processes that start at the same time wait here for each other, and for BullMQ's own migration of this schema: it is the lock
-- that BullMQ takes, so that the two never create one schema at the same time.
SELECT pg_advisory_xact_lock(${BULLMQ_MIGRATION_LOCK}, hashtext('${schema}'));

DO $once$ BEGIN
  -- "IF NOT EXISTS" asks for the right to create even where there is nothing to create.
  IF to_regnamespace('${quoted}') IS NULL THEN
    CREATE SCHEMA ${quoted};
  END IF;
END $once$;
${tablesSql(names)}
${journalTablesSql(names)}
${keepSql(names)}
${stepFunctionsSql(names)}
${acquireFunctionSql(names)}
${releaseFunctionSql(names)}
${sweepSql(names)}
${lineFunctionsSql(names)}
${takeLineStepsSql(names)}
${forceReleaseSql(names)}`;
}

function tablesSql({ locks, line, lastRun, result, answered }: Names): string {
  return `
CREATE TABLE IF NOT EXISTS ${locks} (
  key     text COLLATE "C" NOT NULL,
  place   integer NOT NULL DEFAULT 1,  -- of several that one key has
  state   text NOT NULL,         -- running; reserved: for the next run of its owner; done: held after a success
  token   text NOT NULL,         -- the secret of the lease
  owner   text NOT NULL,         -- who it is for
  attempt bigint NOT NULL,       -- which of its owner's runs has it
  fence   bigint NOT NULL,       -- rises with every acquisition of the key
  since   timestamptz NOT NULL,
  ttl     bigint NOT NULL DEFAULT 0,  -- how long its lease lasts from a renewal, in ms
  expires timestamptz NOT NULL,  -- an expired row counts as absent
  grace   bigint,                -- of a reservation: for how many ms it lasts after it is due
  awaited boolean NOT NULL DEFAULT false,  -- its release is to be notified
  shared  boolean NOT NULL DEFAULT false,  -- of place 1: the key has rows of other places
  match   text,                  -- a hash of what must be equal besides the key
  result_bytes integer,          -- of a key that is held as done: how large the result is that is kept
  PRIMARY KEY (key, place)
);
DO $once$ BEGIN
  -- Of a release in which each key had one place.
  IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = '${locks}'::regclass AND attname = 'shared') THEN
    DELETE FROM ${locks} WHERE state = 'newest';
    ALTER TABLE ${locks}
      ADD COLUMN place integer NOT NULL DEFAULT 1,
      ADD COLUMN shared boolean NOT NULL DEFAULT false,
      DROP CONSTRAINT once_lock_pkey,
      ADD PRIMARY KEY (key, place);
  END IF;
  -- Of a release that kept no results.
  IF NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = '${locks}'::regclass AND attname = 'match') THEN
    ALTER TABLE ${locks} ADD COLUMN match text, ADD COLUMN result_bytes integer;
  END IF;
END $once$;
CREATE INDEX IF NOT EXISTS once_lock_expires ON ${locks} (expires);

-- Who is parked for a key. An owner and a key are no longer, together, than an index takes.
CREATE TABLE IF NOT EXISTS ${line} (
  key    text COLLATE "C" NOT NULL,
  owner  text COLLATE "C" NOT NULL,
  joined bigint NOT NULL,        -- rises in the line of a key
  since  timestamptz NOT NULL,
  PRIMARY KEY (key, owner)
);
CREATE INDEX IF NOT EXISTS once_line_joined ON ${line} (key, joined);
CREATE INDEX IF NOT EXISTS once_line_since ON ${line} (since);

-- Of the line 'newest': the last owner that acquired a key.
CREATE TABLE IF NOT EXISTS ${lastRun} (
  key     text COLLATE "C" PRIMARY KEY,
  owner   text NOT NULL,
  since   timestamptz NOT NULL,
  expires timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS once_last_run_expires ON ${lastRun} (expires);

-- The results of work that was done.
CREATE TABLE IF NOT EXISTS ${result} (
  key     text COLLATE "C" PRIMARY KEY,
  result  text NOT NULL,
  expires timestamptz NOT NULL
);
CREATE INDEX IF NOT EXISTS once_result_expires ON ${result} (expires);

-- Of the line 'together': those that share a result.
CREATE TABLE IF NOT EXISTS ${answered} (
  key     text COLLATE "C" NOT NULL,
  owner   text COLLATE "C" NOT NULL,
  joined  bigint NOT NULL,       -- as it was in the line; 0: it has come for the result
  expires timestamptz NOT NULL,
  PRIMARY KEY (key, owner)
);
CREATE INDEX IF NOT EXISTS once_answered_joined ON ${answered} (key, joined);
CREATE INDEX IF NOT EXISTS once_answered_expires ON ${answered} (expires);
`;
}

function keepSql({ result, answered, keep }: Names): string {
  return `
-- Keeps the result of work that was done for a key.
--
-- $1 key
-- $2 result
-- $3 for how long
CREATE OR REPLACE FUNCTION ${keep}(text, text, interval) RETURNS void
LANGUAGE sql AS $once$
  -- Who has come for an earlier result does not share this one.
  DELETE FROM ${answered} AS a WHERE a.key = $1 AND a.joined = 0;
  -- Each may come as long as it was told, though the one that did the work last was to wait for less.
  INSERT INTO ${result} AS r (key, result, expires)
  SELECT $1, $2, greatest(clock_timestamp() + $3, max(a.expires)) FROM ${answered} AS a WHERE a.key = $1
  ON CONFLICT (key) DO UPDATE SET result = excluded.result, expires = excluded.expires;
$once$;
`;
}

function stepFunctionsSql(names: Names): string {
  const { step, exchange, sweep } = names;
  return `
-- One step of a lock. It waits for its row for ${MAX_ROW_WAIT_MS} ms at most: a row that someone else has locked must not keep
-- a connection, which the leases of other keys need.
--
-- $1 verb   'release', 'keep' (a release that keeps a result), 'reserve', 'renew' or 'acquire'; or 'acquire-notify': a lease that it finds held is marked, so that its
--           release is notified on the channel ${CHANNEL}
-- $2 key
-- $3 token
-- $4 ms     for which a released key stays held as done, 0: it is free at once; for which a key stays reserved; for which a
--           lease lasts
-- $5 owner  of an acquisition; of 'reserve' the grace; of 'keep' the bytes of the result
-- $6 attempt
-- $7 more   of an acquisition a hash of what must be equal, or null; of 'keep' the result
-- returns true or false; of an acquisition [fence, whether its owner reclaimed it], or what it found:
--         [state, owner, attempt, fence, since, ms left, ttl, grace, match, bytes of the result]
CREATE OR REPLACE FUNCTION ${step}(text, text, text, float8, text, bigint, text) RETURNS text
LANGUAGE plpgsql SET lock_timeout = '${MAX_ROW_WAIT_MS}ms' AS $once$
#variable_conflict use_column
<<step>>
DECLARE
  verb text := $1;
  key text := $2;
  token text := $3;
  ms bigint := $4;
  lasts interval := $4 * interval '1 ms';
  owner text := $5;
  attempt bigint := $6;
  more text := $7;
  ${stepVariablesSql(names)}
BEGIN
  ${stepSql(names)}
  RETURN answer;
END $once$;

-- All releases, renewals and acquisitions of a batch, one atomic step each.
--
-- steps   an array of [verb, key, token, ms, owner, attempt, more]: releases first, then renewals, then acquisitions
-- sweep   whether to delete what has expired afterwards
-- is_own  whether the transaction is this statement's own
-- returns an array with an answer a step. Last, how many rows were swept.
--
-- The steps are done key by key, in the same order everywhere. So of two batches on the same keys one waits for the other, and
-- there is no deadlock.
CREATE OR REPLACE FUNCTION ${exchange}(steps json, sweep boolean, is_own boolean) RETURNS text
LANGUAGE plpgsql SET lock_timeout = '${MAX_ROW_WAIT_MS}ms' AS $once$
DECLARE
  answers json[] := '{}';
  step record;
  swept integer := 0;
  must_last boolean := false;
  ${stepVariablesSql(names)}
BEGIN
  FOR step IN
    SELECT at, item->>0 AS verb, item->>1 AS key, item->>2 AS token, (item->>3)::float8 * interval '1 ms' AS lasts,
           (item->>3)::bigint AS ms, item->>4 AS owner, (item->>5)::bigint AS attempt, item->>6 AS more
    FROM json_array_elements(steps) WITH ORDINALITY AS given(item, at)
    ORDER BY (item->>1) COLLATE "C", at
  LOOP
    ${stepSql(names)}
    answers[step.at] := answer;
    must_last := must_last OR step.verb <> 'release' OR step.lasts > interval '0';
  END LOOP;

  IF NOT must_last THEN
    ${relaxCommitSql('is_own')}
  END IF;

  IF sweep THEN
    swept := ${sweep}();
  END IF;
  RETURN array_to_json(answers || to_json(swept));
EXCEPTION WHEN lock_not_available THEN
  -- Nothing was done. The key says which step is to be left out.
  RAISE EXCEPTION 'the row of a key is locked by another transaction' USING ERRCODE = 'lock_not_available', DETAIL = step.key;
END $once$;
`;
}

function sweepSql({ locks, line, lastRun, result, answered, sweep }: Names): string {
  const deleteExpiredSql = (table: string) => `
  DELETE FROM ${table} AS r WHERE r.ctid = ANY (ARRAY(
    SELECT old.ctid FROM ${table} AS old WHERE old.expires < now() LIMIT ${MAX_SWEPT} FOR UPDATE SKIP LOCKED));
  GET DIAGNOSTICS swept = ROW_COUNT;
  most := greatest(most, swept);
`;
  return `
-- Deletes what has expired. It waits for nobody, so it can't be part of a deadlock.
--
-- returns how many rows it deleted of the kind of which it deleted most
CREATE OR REPLACE FUNCTION ${sweep}() RETURNS integer
LANGUAGE plpgsql AS $once$
DECLARE
  swept integer;
  most integer;
  keys text[];
BEGIN
  DELETE FROM ${locks} AS l WHERE (l.key, l.place) IN (
    SELECT old.key, old.place FROM ${locks} AS old WHERE old.expires < now() AND old.place = 1 AND NOT old.shared
    LIMIT ${MAX_SWEPT} FOR UPDATE SKIP LOCKED);
  GET DIAGNOSTICS most = ROW_COUNT;

  -- Of a key with several rows all go at once, behind the gate.
  keys := ARRAY(
    SELECT old.key FROM ${locks} AS old
    WHERE old.expires < now() AND old.place = 1 AND old.shared
      AND NOT EXISTS (SELECT FROM ${locks} AS live WHERE live.key = old.key AND live.expires >= now())
    LIMIT ${MAX_SWEPT} FOR UPDATE SKIP LOCKED);
  DELETE FROM ${locks} AS l
  WHERE l.key = ANY (keys) AND NOT EXISTS (SELECT FROM ${locks} AS live WHERE live.key = l.key AND live.expires >= now());
  most := greatest(most, cardinality(keys));
  ${[lastRun, result, answered].map(deleteExpiredSql).join('')}
  DELETE FROM ${line} AS p WHERE (p.key, p.owner) IN (
    SELECT old.key, old.owner FROM ${line} AS old
    WHERE old.since < now() - ${LINE_LASTS}
      AND NOT EXISTS (SELECT FROM ${line} AS new WHERE new.key = old.key AND new.since >= now() - ${LINE_LASTS})
    LIMIT ${MAX_SWEPT} FOR UPDATE SKIP LOCKED);
  GET DIAGNOSTICS swept = ROW_COUNT;
  RETURN greatest(most, swept);
END $once$;
`;
}

function takeLineStepsSql({ takeLineSteps, enter, leave, strikeOut, sweep }: Names): string {
  return `
-- All steps of a batch on lines and places, one atomic step each, in the order of the exchange.
--
-- steps   an array of steps: [verb, key, ...], as the functions of the verbs 'enter', 'leave' and 'strikeOut' take them
-- sweep   whether to delete what has expired afterwards
-- returns an array with an answer a step. Last, how many rows were swept.
CREATE OR REPLACE FUNCTION ${takeLineSteps}(steps json, sweep boolean) RETURNS text
LANGUAGE plpgsql SET lock_timeout = '${MAX_ROW_WAIT_MS}ms' AS $once$
DECLARE
  answers json[] := '{}';
  step record;
  swept integer := 0;
BEGIN
  FOR step IN
    SELECT at, item, item->>0 AS verb, item->>1 AS key
    FROM json_array_elements(steps) WITH ORDINALITY AS given(item, at)
    ORDER BY (item->>1) COLLATE "C", at
  LOOP
    IF step.verb = 'enter' THEN
      answers[step.at] := ${enter}(step.item);
    ELSIF step.verb = 'leave' THEN
      answers[step.at] := ${leave}(step.item);
    ELSE
      answers[step.at] := ${strikeOut}(step.item);
    END IF;
  END LOOP;

  IF sweep THEN
    swept := ${sweep}();
  END IF;
  RETURN array_to_json(answers || to_json(swept));
EXCEPTION WHEN lock_not_available THEN
  -- Nothing was done. The key says which step is to be left out.
  RAISE EXCEPTION 'the row of a key is locked by another transaction' USING ERRCODE = 'lock_not_available', DETAIL = step.key;
END $once$;
`;
}

function forceReleaseSql({ locks, lastRun, result, answered, endPlace, forceRelease }: Names): string {
  return `
-- Frees keys, whoever holds them, notifies those who wait, and forgets who has run last and with which result.
--
-- keys, fences  of each key the fence of the acquisition to end, null for any
-- returns       of each whether it was there
CREATE OR REPLACE FUNCTION ${forceRelease}(keys text[], fences bigint[]) RETURNS text
LANGUAGE plpgsql AS $once$
DECLARE
  answers boolean[] := '{}';
  step record;
  held ${locks};
BEGIN
  FOR step IN
    SELECT at, given.key, given.fence FROM unnest(keys, fences) WITH ORDINALITY AS given(key, fence, at)
    ORDER BY given.key COLLATE "C", at
  LOOP
    answers[step.at] := false;
    PERFORM FROM ${locks} AS l WHERE l.key = step.key AND l.place = 1 FOR UPDATE;
    -- Who comes from now on is not meant, and its gate is not locked.
    CONTINUE WHEN NOT FOUND;
    FOR held IN
      SELECT * FROM ${locks} AS l
      WHERE l.key = step.key AND l.expires > clock_timestamp() AND (step.fence IS NULL OR l.fence = step.fence)
    LOOP
      answers[step.at] := true;
      PERFORM ${endPlace}(step.key, held.place);
      ${outlastSql('held.fence')}
      IF held.awaited THEN
        PERFORM ${notifySql('step.key')};
      END IF;
    END LOOP;
    IF answers[step.at] THEN
      DELETE FROM ${lastRun} AS r WHERE r.key = step.key;
      DELETE FROM ${result} AS r WHERE r.key = step.key;
      DELETE FROM ${answered} AS a WHERE a.key = step.key;
    END IF;
  END LOOP;
  RETURN array_to_json(answers);
END $once$;
`;
}
