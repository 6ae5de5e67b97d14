/** The SQL of the table in which `PostgresCache` keeps locks, and of the functions that decide on them. */

import { CHANNEL, stepSql, stepVariablesSql } from './step-sql.ts';

/** The schema that BullMQ's PostgreSQL backend uses unless it is told another. */
export const DEFAULT_SCHEMA = 'bullmq';

/**
 * The name of the function that does a batch. It ends in its version: releases of this package with different versions of it
 * can share a database.
 */
export const EXCHANGE = 'once_exchange_2';

/** The name of the function that does one step. */
export const STEP = 'once_step_1';

/** The name of the function that records which job is the newest. */
export const ANNOUNCE = 'once_announce_1';

/** The key of the advisory lock that BullMQ's migrations take, with a hash of the schema's name: `BULL` as an integer. */
const BULLMQ_MIGRATION_LOCK = 0x42554c4c;

/** How long a step waits for its row. A batch of our own is done sooner. */
const MAX_ROW_WAIT_MS = 250;

/** One call sweeps this many expired locks at most, so that it is over soon. */
export const MAX_SWEPT = 1000;

/**
 * The SQL that creates the table and the functions. It may be run again, and by several at once. Sent as one query it is one
 * transaction.
 * @param schema - where to create them. A schema that is not there is created too, for which the role needs CREATE on the
 *   database.
 */
export function migrationSql(schema: string): string {
  const quoted = quote(schema);
  const table = `${quoted}.once_lock`;
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

CREATE TABLE IF NOT EXISTS ${quoted}.once_lock (
  key     text COLLATE "C" PRIMARY KEY,
  state   text NOT NULL,         -- running; reserved: for the next run of its owner; done: held after a success; newest: no lock,
                                 -- but which job is the newest
  token   text NOT NULL,         -- the secret of the lease
  owner   text NOT NULL,         -- who it is for
  attempt bigint NOT NULL,       -- which of its owner's runs has it
  fence   bigint NOT NULL,       -- rises with every acquisition of the key
  since   timestamptz NOT NULL,
  ttl     bigint NOT NULL DEFAULT 0,  -- how long its lease lasts from a renewal, in ms
  expires timestamptz NOT NULL,  -- an expired row counts as absent
  grace   bigint,                -- of a reservation: for how many ms it lasts after it is due
  awaited boolean NOT NULL DEFAULT false  -- its release is to be notified; of the newest job: it is parked
);
CREATE INDEX IF NOT EXISTS once_lock_expires ON ${quoted}.once_lock (expires);

-- One step of a lock. It waits for its row for ${MAX_ROW_WAIT_MS} ms at most: a row that someone else has locked must not keep
-- a connection, which the leases of other keys need.
--
-- $1 verb   'release', 'reserve', 'renew' or 'acquire'; or 'acquire-notify': a lease that it finds held is marked, so that its
--           release is notified on the channel ${CHANNEL}
-- $2 key
-- $3 token
-- $4 ms     for which a released key stays held as done, 0: it is free at once; for which a key stays reserved; for which a
--           lease lasts
-- $5 owner  of an acquisition; of 'reserve' the grace
-- $6 attempt
-- returns true or false; of an acquisition [fence, whether its owner reclaimed it], or what it found:
--         [state, owner, attempt, fence, since, ms left, ttl, grace]
CREATE OR REPLACE FUNCTION ${quoted}.${STEP}(text, text, text, float8, text, bigint) RETURNS text
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
  ${stepVariablesSql(table)}
BEGIN
  ${stepSql(table)}
  RETURN answer;
END $once$;

-- All releases, renewals and acquisitions of a batch, one atomic step each.
--
-- steps   an array of [verb, key, token, ms, owner, attempt]: releases first, then renewals, then acquisitions
-- sweep   whether to delete expired locks afterwards
-- returns an array with an answer a step. Last, how many locks were swept.
--
-- The steps are done key by key, in the same order everywhere. So of two batches on the same keys one waits for the other, and
-- there is no deadlock.
CREATE OR REPLACE FUNCTION ${quoted}.${EXCHANGE}(steps json, sweep boolean) RETURNS text
LANGUAGE plpgsql SET lock_timeout = '${MAX_ROW_WAIT_MS}ms' AS $once$
DECLARE
  answers json[] := '{}';
  step record;
  swept integer := 0;
  ${stepVariablesSql(table)}
BEGIN
  FOR step IN
    SELECT at, item->>0 AS verb, item->>1 AS key, item->>2 AS token, (item->>3)::float8 * interval '1 ms' AS lasts,
           (item->>3)::bigint AS ms, item->>4 AS owner, (item->>5)::bigint AS attempt
    FROM json_array_elements(steps) WITH ORDINALITY AS given(item, at)
    ORDER BY (item->>1) COLLATE "C", at
  LOOP
    ${stepSql(table)}
    answers[step.at] := answer;
  END LOOP;

  IF sweep THEN
    -- Waits for nobody, so it can't be part of a deadlock.
    DELETE FROM ${quoted}.once_lock AS l WHERE l.key IN (
      SELECT old.key FROM ${quoted}.once_lock AS old WHERE old.expires < now()
      LIMIT ${MAX_SWEPT} FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS swept = ROW_COUNT;
  END IF;
  RETURN array_to_json(answers || to_json(swept));
EXCEPTION WHEN lock_not_available THEN
  -- Nothing was done. The key says which step is to be left out.
  RAISE EXCEPTION 'the row of a key is locked by another transaction' USING ERRCODE = 'lock_not_available', DETAIL = step.key;
END $once$;

-- Records which job is the newest of each key, in a row of its own whose token is the job's order.
--
-- arrivals an array of [key, order, is a rerun, is parked, owner, ms to remember it]
-- returns  an array: of each [the newest's owner, whether it is parked, the owner it has outdone if that is parked, else null]
CREATE OR REPLACE FUNCTION ${quoted}.${ANNOUNCE}(arrivals json) RETURNS text
LANGUAGE plpgsql AS $once$
DECLARE
  answers json[] := '{}';
  came record;
  newest ${quoted}.once_lock;
  outdone text;
  is_newer boolean;
BEGIN
  FOR came IN
    SELECT at, item->>0 AS key, (item->>1) COLLATE "C" AS ord, (item->>2)::boolean AS rerun, (item->>3)::boolean AS parked,
           item->>4 AS owner, clock_timestamp() + (item->>5)::float8 * interval '1 ms' AS until
    FROM json_array_elements(arrivals) WITH ORDINALITY AS given(item, at)
    ORDER BY (item->>0) COLLATE "C", at
  LOOP
    outdone := NULL;
    INSERT INTO ${quoted}.once_lock AS l (key, state, token, owner, attempt, fence, since, expires, awaited)
    VALUES (came.key, 'newest', came.ord, came.owner, 0, 0, clock_timestamp(), came.until, came.parked)
    -- Locks the row that is there. An expired row counts as absent.
    ON CONFLICT (key) DO UPDATE SET
      token = CASE WHEN l.expires > clock_timestamp() THEN l.token ELSE excluded.token END,
      owner = CASE WHEN l.expires > clock_timestamp() THEN l.owner ELSE excluded.owner END,
      awaited = CASE WHEN l.expires > clock_timestamp() THEN l.awaited ELSE excluded.awaited END,
      expires = greatest(l.expires, excluded.expires)
    RETURNING l.* INTO newest;
    is_newer := CASE WHEN newest.token = came.ord THEN NOT came.rerun ELSE came.ord > newest.token COLLATE "C" END;
    IF newest.owner = came.owner OR is_newer THEN
      IF newest.awaited AND newest.owner <> came.owner THEN
        outdone := newest.owner;
      END IF;
      UPDATE ${quoted}.once_lock AS l SET token = came.ord, owner = came.owner, awaited = came.parked
      WHERE l.key = came.key
      RETURNING l.* INTO newest;
    END IF;
    answers[came.at] := json_build_array(newest.owner, newest.awaited, outdone);
  END LOOP;
  RETURN array_to_json(answers);
END $once$;
`;
}

/** Quoted, a name keeps its capitals. It is a plain one: nothing in it needs an escape. */
export function quote(name: string): string {
  return `"${name}"`;
}
