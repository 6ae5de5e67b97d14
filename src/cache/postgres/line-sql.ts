/**
 * The rules of lines and places in SQL, by those of `line-rules.ts`. `line-protocol.ts` writes the steps and reads the answers.
 *
 * Each holder of a key has a row in `once_lock`; one who holds it alone has place 1. The row of place 1 is the key's gate. A transaction
 * locks it, or inserts it, before it changes another row of the key, its line, or who has run last. So the rows of a key have a gate
 * among them: it stays, expired, while others hold the key. `shared` says that it has rows beside it.
 */

import { MAX_ANSWERED } from '../contract.ts';
import { REMEMBER_OUTDONE_MS, REMEMBER_TTLS } from '../line-rules.ts';
import type { Names } from './names.ts';
import {
  fenceAt,
  foundSql,
  MAX_ROW_WAIT_MS,
  MAX_UNNOTICED_WAIT,
  msAt,
  notifySql,
  outlastSql,
} from './step-sql.ts';

/** What names a job's queue, the job's id, and the ms at which the job was created, in the owner of its lease. */
const OWNER_OF_JOB = '^((?:.*:)?[^:]+):([^:]*)@(-?[0-9]{1,16})$';
const NUMBER_OF_JOB = '^[1-9][0-9]{0,14}$';

/** The functions that decide on lines and places, and those that they call. */
export function lineFunctionsSql(names: Names): string {
  return [isOlderSql, endPlaceSql, enterSql, leaveSql, strikeOutSql].map(sql => sql(names)).join('\n');
}

function isOlderSql({ isOlder }: Names): string {
  return `
-- Whether a job that comes is older than another.
--
-- $1, $2  the owners of both
-- $3      when the other came, in ms. A producer may choose a time ahead: nobody is newer than when it came.
-- $4      the time, in ms
-- $5      whether the job comes again
-- $6      whether only the numbers that a queue gave both decide
CREATE OR REPLACE FUNCTION ${isOlder}(text, text, bigint, bigint, boolean, boolean) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE AS $once$
DECLARE
  mine text[] := regexp_match($1, '${OWNER_OF_JOB}');
  theirs text[] := regexp_match($2, '${OWNER_OF_JOB}');
  created bigint := mine[3];
  their_created bigint := theirs[3];
BEGIN
  -- JavaScript counts no further.
  IF $1 = $2 OR mine IS NULL OR theirs IS NULL OR greatest(abs(created), abs(their_created)) > 9007199254740991 THEN
    RETURN false;
  END IF;
  IF mine[1] = theirs[1] AND mine[2] ~ '${NUMBER_OF_JOB}' AND theirs[2] ~ '${NUMBER_OF_JOB}' THEN
    -- An obliterated queue counts anew: a job with a lower number is not older if it was created when the other had come.
    RETURN mine[2]::bigint < theirs[2]::bigint AND NOT (created > greatest(their_created, $3) AND created <= $4);
  END IF;
  -- When a job that comes again came first is not known.
  created := CASE WHEN created <= $4 THEN created WHEN $5 THEN 0 ELSE $4 END;
  their_created := least(their_created, $3);
  RETURN NOT $6 AND (created < their_created OR ($5 AND created = their_created));
END $once$;
`;
}

/** Whether an owner is a job whose age is known. JavaScript counts no further. */
function hasAgeSql(owner: string): string {
  return `coalesce(abs((regexp_match(${owner}, '${OWNER_OF_JOB}'))[3]::numeric) <= 9007199254740991, false)`;
}

function endPlaceSql({ locks, endPlace }: Names): string {
  return `
-- Ends what is held in a place of a key. The caller has locked the gate.
--
-- $1 key
-- $2 place
CREATE OR REPLACE FUNCTION ${endPlace}(text, integer) RETURNS void
LANGUAGE plpgsql AS $once$
DECLARE
  has_others boolean;
BEGIN
  DELETE FROM ${locks} AS l
  WHERE l.key = $1 AND l.place > 1 AND (l.place = $2 OR l.expires <= clock_timestamp());
  has_others := EXISTS (SELECT FROM ${locks} AS l WHERE l.key = $1 AND l.place > 1);
  DELETE FROM ${locks} AS l
  WHERE l.key = $1 AND l.place = 1 AND NOT has_others AND ($2 = 1 OR l.expires <= clock_timestamp());
  IF FOUND THEN
    RETURN;
  END IF;
  -- The gate changes with each place. So a transaction that sees an older state of the key can't change it by mistake.
  UPDATE ${locks} AS l
  SET shared = has_others,
      token = CASE WHEN $2 = 1 THEN '' ELSE l.token END,
      expires = CASE WHEN $2 = 1 THEN '-infinity' ELSE l.expires END
  WHERE l.key = $1 AND l.place = 1;
END $once$;
`;
}

function enterSql(names: Names): string {
  const { locks, line, lastRun, result, answered, enter } = names;
  const isOlderThan = (other: string, byNumber: string) =>
    `${names.isOlder}(step.owner, ${other}.owner, ${msAt(`${other}.since`)}, ${msAt('asked')}, step.attempt > 1, ${byNumber})`;
  const ownerAndSince = (row: string) => `json_build_array(${row}.owner, ${msAt(`${row}.since`)})`;
  return `
-- Asks for a place of a key.
--
-- $1      [verb, key, token, ms for which the lease lasts, owner, attempt, places, 'all', 'newest', 'together' or '' for no line, whether
--         it joins the line, whether the key's release is to be notified, whether those who listen to the key are notified when it
--         joins, the fence after which a reserved place is named, a hash of what must be equal or nothing]
-- returns { acquired: [fence, whether its owner reclaimed it], next: the next owner or null }; or
--         { absent: true }: it does not join, and is not in the line; or
--         { answered: the result, next: another that shares it or null }; or
--         { held: the holder, as a lone step reports it }, or { parked: [owner, since] }, or { done: [owner, since] }, each with
--         { ahead: how many are before it, -1: it is outdone, null: it is in no line; outdone: the owner whose position it took, or null };
--         of work that was done { result }, or null
CREATE OR REPLACE FUNCTION ${enter}(json) RETURNS json
LANGUAGE plpgsql SET lock_timeout = '${MAX_ROW_WAIT_MS}ms' AS $once$
#variable_conflict use_column
<<step>>
DECLARE
  key text := $1->>1;
  token text := $1->>2;
  ms bigint := $1->>3;
  lasts interval := ($1->>3)::float8 * interval '1 ms';
  owner text := $1->>4;
  attempt bigint := $1->>5;
  places integer := $1->>6;
  kind text := $1->>7;
  joins boolean := $1->>8;
  notifies boolean := $1->>9;
  interrupts boolean := $1->>10;
  reserved_after bigint := $1->>11;
  match text := $1->>12;
  kept text;
  asked timestamptz;
  has_waited boolean;
  -- The key was free, and the step has inserted its own lease.
  is_new boolean;
  -- Who holds the key, in the order in which they acquired it; and the place of the step's own owner.
  live ${locks}[] := '{}';
  held ${locks};
  own ${locks};
  last_fence bigint;
  was_reclaimed boolean := false;
  -- Where its owner stands in the line, and the first of the others.
  own_number bigint;
  ahead bigint;
  head ${line};
  last ${lastRun};
  -- The lease that it is granted, or who is in its way.
  granted ${locks};
  refusal json;
  outdone text;
BEGIN
  LOOP
    asked := clock_timestamp();
    INSERT INTO ${locks} AS l (key, state, token, owner, attempt, fence, since, ttl, expires, match)
    VALUES (step.key, 'running', step.token, step.owner, step.attempt, ${fenceAt('asked')}, asked, step.ms, asked + step.lasts,
            step.match)
    ON CONFLICT (key, place) DO NOTHING
    RETURNING l.* INTO granted;
    is_new := FOUND;
    EXIT WHEN is_new;
    PERFORM FROM ${locks} AS l WHERE l.key = step.key AND l.place = 1 FOR UPDATE;
    -- Else it was released in between.
    EXIT WHEN FOUND;
  END LOOP;
  has_waited := clock_timestamp() > asked + ${MAX_UNNOTICED_WAIT};
  asked := clock_timestamp();

  IF NOT is_new THEN
    SELECT coalesce(array_agg(l ORDER BY l.fence) FILTER (WHERE l.expires > asked), '{}'), max(l.fence)
    INTO live, last_fence
    FROM ${locks} AS l WHERE l.key = step.key;
    FOREACH held IN ARRAY live LOOP
      IF held.owner = step.owner OR (held.token = step.token AND held.state = 'running') THEN
        own := held;
      END IF;
      EXIT WHEN held.token = step.token AND held.state = 'running';
    END LOOP;
    granted := own;
    IF own.token = step.token AND own.state = 'running' THEN
      -- The same step, sent again because its answer got lost.
    ELSIF own.state <> 'done' AND (own.attempt < step.attempt OR (own.attempt = 0 AND step.attempt = 0)) THEN
      -- A reservation was ended by its run.
      was_reclaimed := own.state = 'running';
      granted.fence := greatest(last_fence + 1, ${fenceAt('asked')});
      granted.since := asked;
    ELSIF own.token IS NOT NULL THEN
      -- Its work is done, or a newer run of it is under way. It is not to wait for itself.
      refusal := json_build_object('held', ${foundSql('own', 'asked')});
    END IF;
  END IF;

  IF step.kind = 'together' THEN
    SELECT r.result INTO kept FROM ${result} AS r WHERE r.key = step.key AND r.expires > asked;
    IF kept IS NOT NULL AND (own.token IS NULL OR refusal IS NOT NULL) THEN
      IF step.match <> substring(kept FROM '^[{]"match":"([^"]*)"') THEN
        -- A newcomer has done the work for other data meanwhile: that is not the result that it has waited for.
        DELETE FROM ${answered} AS a WHERE a.key = step.key AND a.owner = step.owner;
      ELSE
        -- The answer may get lost, and its process may die with it: so it may come again.
        UPDATE ${answered} AS a SET joined = 0 WHERE a.key = step.key AND a.owner = step.owner AND a.expires > asked;
        IF FOUND THEN
          refusal := json_build_object('answered', kept, 'next', coalesce(
            (${awaitedSql(answered, 'asked')} OFFSET ${MAX_ANSWERED - 1} LIMIT 1), (${awaitedSql(answered, 'asked')} LIMIT 1)));
          own := NULL;
        END IF;
      END IF;
    END IF;
  END IF;
  IF own.token IS NULL AND refusal IS NULL THEN
    FOREACH held IN ARRAY live LOOP
      CONTINUE WHEN NOT coalesce(held.match <> step.match, false) AND NOT (step.kind = 'together' AND held.state = 'done');
      -- It is no duplicate, or the work is done. There is nothing to wait for.
      refusal := json_build_object('held', ${foundSql('held', 'asked')});
      -- What is reserved may be so for a job that won't come back.
      IF held.state <> 'reserved' THEN
        DELETE FROM ${line} AS p WHERE p.key = step.key AND p.owner = step.owner;
      END IF;
      EXIT;
    END LOOP;
  END IF;
  IF kept IS NOT NULL AND refusal->'held'->>0 = 'done' THEN
    refusal := (refusal::jsonb || jsonb_build_object('result', kept))::json;
  END IF;

  IF step.kind <> '' AND refusal IS NULL THEN
    ahead := 0;
    SELECT * INTO head FROM ${line} AS p WHERE p.key = step.key ORDER BY p.joined LIMIT 1;
    IF FOUND THEN
      SELECT p.joined INTO own_number FROM ${line} AS p WHERE p.key = step.key AND p.owner = step.owner;
      ahead := (SELECT count(*) FROM ${line} AS p WHERE p.key = step.key AND (own_number IS NULL OR p.joined < own_number));
    END IF;
    IF head.owner = step.owner THEN
      SELECT * INTO head FROM ${line} AS p WHERE p.key = step.key AND p.joined > own_number ORDER BY p.joined LIMIT 1;
    END IF;
  END IF;

  IF own.token IS NULL AND refusal IS NULL THEN
    IF step.kind <> '' AND own_number IS NULL AND NOT step.joins THEN
      refusal := json_build_object('absent', true);
    ELSIF step.kind = 'newest' AND own_number IS NULL THEN
      FOREACH held IN ARRAY live LOOP
        CONTINUE WHEN NOT ${isOlderThan('held', 'false')};
        refusal := json_build_object('held', ${foundSql('held', 'asked')}, 'ahead', -1);
        EXIT;
      END LOOP;
      -- Where an age is not known, the one that comes again came first.
      IF refusal IS NULL AND head.owner IS NOT NULL
        AND (${isOlderThan('head', 'false')} OR (step.attempt > 1 AND NOT (${hasAgeSql('step.owner')} AND ${hasAgeSql('head.owner')}))) THEN
        refusal := json_build_object('parked', ${ownerAndSince('head')}, 'ahead', -1);
      END IF;
      SELECT * INTO last FROM ${lastRun} AS r WHERE r.key = step.key AND r.expires > asked;
      -- A job that comes for the first time is refused on a free key only if its queue's own number says that it is older.
      IF refusal IS NULL AND last.owner IS NOT NULL AND ${isOlderThan('last', 'step.attempt <= 1')} THEN
        refusal := json_build_object('done', ${ownerAndSince('last')}, 'ahead', -1);
      END IF;
    END IF;
    IF refusal IS NOT NULL OR step.places - cardinality(live) <= (CASE step.kind WHEN 'all' THEN ahead ELSE 0 END) THEN
      granted := NULL;
    ELSIF NOT is_new THEN
      -- What has expired in a place above the first goes. So the lowest place that nobody holds is free.
      DELETE FROM ${locks} AS l WHERE l.key = step.key AND l.place > 1 AND l.expires <= asked;
      granted.place := (
        SELECT min(n) FROM generate_series(1, cardinality(live) + 1) AS n
        WHERE n <> ALL (ARRAY(SELECT l.place FROM unnest(live) AS l)));
      granted.fence := greatest(last_fence + 1, ${fenceAt('asked')});
      granted.since := asked;
    END IF;
  ELSIF refusal IS NOT NULL THEN
    granted := NULL;
  END IF;

  IF granted.fence IS NOT NULL THEN
    IF is_new AND has_waited THEN
      -- It may have waited for a transaction that released the key, which others held after the time was read.
      granted.fence := ${fenceAt('asked')};
      UPDATE ${locks} AS l
      SET fence = granted.fence, since = asked, expires = asked + step.lasts
      WHERE l.key = step.key AND l.place = 1;
    ELSIF NOT is_new THEN
      INSERT INTO ${locks} AS l (key, place, state, token, owner, attempt, fence, since, ttl, expires, match)
      VALUES (step.key, granted.place, 'running', step.token, step.owner, step.attempt, granted.fence, granted.since, step.ms,
              asked + step.lasts, step.match)
      ON CONFLICT (key, place) DO UPDATE
      SET state = 'running', token = excluded.token, owner = excluded.owner, attempt = excluded.attempt, fence = excluded.fence,
          since = excluded.since, ttl = excluded.ttl, expires = excluded.expires, grace = NULL, match = excluded.match,
          result_bytes = NULL,
          awaited = l.awaited AND own.token IS NOT NULL;
      UPDATE ${locks} AS l
      SET shared = EXISTS (SELECT FROM ${locks} AS other WHERE other.key = step.key AND other.place > 1)
      WHERE l.key = step.key AND l.place = 1;
    END IF;
    IF own_number IS NOT NULL THEN
      DELETE FROM ${line} AS p WHERE p.key = step.key AND p.owner = step.owner;
    END IF;
    IF step.kind = 'newest' AND own.token IS NULL THEN
      -- Whoever is parked is older, and outdone. One that reclaims its own leaves a newer one in the line.
      IF head.owner IS NOT NULL THEN
        DELETE FROM ${line} AS p WHERE p.key = step.key;
      END IF;
      INSERT INTO ${lastRun} AS r (key, owner, since, expires)
      VALUES (step.key, step.owner, asked,
              asked + CASE WHEN head.owner IS NULL THEN ${REMEMBER_TTLS} * step.lasts ELSE ${REMEMBER_OUTDONE_MS} * interval '1 ms' END)
      ON CONFLICT (key) DO UPDATE
      SET owner = excluded.owner, since = excluded.since, expires = greatest(r.expires, excluded.expires);
    END IF;
    RETURN json_build_object('acquired', json_build_array(granted.fence, was_reclaimed), 'next', head.owner);
  END IF;

  IF is_new THEN
    DELETE FROM ${locks} AS l WHERE l.key = step.key AND l.place = 1;
  ELSIF step.notifies AND refusal->'absent' IS NULL AND refusal->'answered' IS NULL THEN
    UPDATE ${locks} AS l SET awaited = true
    WHERE l.key = step.key AND l.state = 'running' AND l.expires > asked AND NOT l.awaited;
  END IF;
  IF refusal IS NOT NULL THEN
    RETURN refusal;
  END IF;
  -- Who finds a reservation asks BullMQ about its job, and then about the job of the next.
  held := coalesce(
    (SELECT l FROM unnest(live) AS l WHERE l.state = 'reserved' AND l.fence > step.reserved_after ORDER BY l.fence LIMIT 1), live[1]);
  IF step.kind = '' THEN
    RETURN json_build_object('held', ${foundSql('held', 'asked')});
  END IF;

  IF own_number IS NULL THEN
    IF step.kind = 'newest' THEN
      DELETE FROM ${line} AS p WHERE p.key = step.key;
      outdone := head.owner;
      ahead := 0;
      UPDATE ${lastRun} AS r SET expires = greatest(r.expires, asked + ${REMEMBER_OUTDONE_MS} * interval '1 ms')
      WHERE r.key = step.key AND r.expires > asked AND outdone IS NOT NULL;
    END IF;
    INSERT INTO ${line} (key, owner, joined, since)
    SELECT step.key, step.owner, coalesce(max(p.joined), 0) + 1, asked FROM ${line} AS p WHERE p.key = step.key;
    -- A transaction that sees an older state of the line can't release the key.
    UPDATE ${locks} AS l SET shared = l.shared WHERE l.key = step.key AND l.place = 1;
    IF step.interrupts THEN
      PERFORM ${notifySql('step.key')};
    END IF;
  END IF;
  RETURN CASE
    -- Where a place is free, it is those before it in the line that are in its way.
    WHEN step.places <= cardinality(live) THEN
      json_build_object('held', ${foundSql('held', 'asked')}, 'ahead', ahead, 'outdone', outdone)
    ELSE json_build_object('parked', ${ownerAndSince('head')}, 'ahead', ahead, 'outdone', outdone)
  END;
END $once$;
`;
}

/** Those that share a result and have not come for it yet, in their order. */
function awaitedSql(answered: string, now: string): string {
  return `SELECT a.owner FROM ${answered} AS a WHERE a.key = step.key AND a.joined > 0 AND a.expires > ${now} ORDER BY a.expires, a.joined`;
}

function leaveSql({ locks, line, lastRun, answered, endPlace, keep, leave }: Names): string {
  return `
-- Ends a lease.
--
-- $1      [verb, key, token, ms for which the key stays held, 'done' or 'reserved': as what it stays held, or '' if it is free at once;
--         of a reservation its grace, places, 'all', 'newest', 'together' or '' for no line, ms for which its owner may come again, the
--         bytes of the result, its text]
-- returns [whether it was held under this token, the owner whose turn it is or null, of the line 'together' those that share the result
--         or null]
CREATE OR REPLACE FUNCTION ${leave}(json) RETURNS json
LANGUAGE plpgsql SET lock_timeout = '${MAX_ROW_WAIT_MS}ms' AS $once$
#variable_conflict use_column
<<step>>
DECLARE
  key text := $1->>1;
  token text := $1->>2;
  lasts interval := ($1->>3)::float8 * interval '1 ms';
  stays text := $1->>4;
  grace bigint := $1->>5;
  places integer := $1->>6;
  kind text := $1->>7;
  remembered interval := ($1->>8)::float8 * interval '1 ms';
  result_bytes integer := nullif(($1->>9)::integer, 0);
  result text := $1->>10;
  sharing json;
  answered_until timestamptz;
  own ${locks};
  is_shared boolean;
  was_held boolean;
  free bigint;
  next_owner text;
BEGIN
  SELECT * INTO own FROM ${locks} AS l WHERE l.key = step.key AND l.place = 1 FOR UPDATE;
  is_shared := own.shared;
  IF is_shared THEN
    SELECT * INTO own FROM ${locks} AS l WHERE l.key = step.key AND l.token = step.token;
  END IF;
  was_held := coalesce(own.token = step.token AND own.state = 'running' AND own.expires > clock_timestamp(), false);

  IF NOT was_held THEN
    NULL;
  ELSIF step.stays <> '' THEN
    UPDATE ${locks} AS l
    SET state = step.stays, grace = step.grace, expires = clock_timestamp() + step.lasts, result_bytes = step.result_bytes
    WHERE l.key = step.key AND l.place = own.place;
  ELSE
    IF is_shared THEN
      PERFORM ${endPlace}(step.key, own.place);
    ELSE
      DELETE FROM ${locks} AS l WHERE l.key = step.key AND l.place = 1;
    END IF;
    ${outlastSql('own.fence')}
    IF own.awaited THEN
      PERFORM ${notifySql('step.key')};
    END IF;
  END IF;

  IF was_held AND step.result IS NOT NULL THEN
    DELETE FROM ${answered} AS a WHERE a.key = step.key AND a.expires <= clock_timestamp();
    IF step.kind = 'together' THEN
      answered_until := clock_timestamp() + greatest(step.remembered, step.lasts);
      INSERT INTO ${answered} AS a (key, owner, joined, expires)
      SELECT p.key, p.owner, p.joined, answered_until FROM ${line} AS p WHERE p.key = step.key
      ON CONFLICT (key, owner) DO UPDATE SET joined = excluded.joined, expires = excluded.expires;
      DELETE FROM ${line} AS p WHERE p.key = step.key;
    END IF;
    -- The newest result serves those too that have not come for an earlier one.
    IF EXISTS (${awaitedSql(answered, 'clock_timestamp()')}) THEN
      PERFORM ${keep}(step.key, step.result, greatest(step.remembered, step.lasts));
    ELSIF step.lasts > interval '0' THEN
      PERFORM ${keep}(step.key, step.result, step.lasts);
    END IF;
  END IF;
  IF step.kind = 'together' THEN
    SELECT json_agg(a.owner) INTO sharing FROM (${awaitedSql(answered, 'clock_timestamp()')} LIMIT ${MAX_ANSWERED}) AS a;
    -- Those who wait for it in their processes.
    IF sharing IS NOT NULL AND was_held AND step.stays = 'done' AND own.awaited THEN
      PERFORM ${notifySql('step.key')};
    END IF;
  END IF;

  IF step.kind <> '' THEN
    free := step.places - (SELECT count(*) FROM ${locks} AS l WHERE l.key = step.key AND l.expires > clock_timestamp());
    -- Where the key stays done, the first is told, so that it comes back when the window is over.
    free := greatest(free, CASE WHEN step.stays = 'done' THEN 1 ELSE 0 END);
    IF free > 0 THEN
      SELECT p.owner INTO next_owner
      FROM (SELECT q.owner, q.joined FROM ${line} AS q WHERE q.key = step.key ORDER BY q.joined LIMIT free) AS p
      ORDER BY p.joined DESC LIMIT 1;
    END IF;
  END IF;
  IF was_held AND step.kind = 'newest' THEN
    INSERT INTO ${lastRun} AS r (key, owner, since, expires)
    VALUES (step.key, own.owner, clock_timestamp(), clock_timestamp() + step.remembered)
    ON CONFLICT (key) DO UPDATE
    SET owner = CASE WHEN r.expires > clock_timestamp() THEN r.owner ELSE excluded.owner END,
        since = CASE WHEN r.expires > clock_timestamp() THEN r.since ELSE excluded.since END,
        expires = excluded.expires
    WHERE r.expires < excluded.expires;
  END IF;
  RETURN json_build_array(was_held, next_owner, sharing);
END $once$;
`;
}

function strikeOutSql({ locks, line, strikeOut }: Names): string {
  return `
-- Removes an owner from a line.
--
-- $1      [verb, key, owner]
-- returns whether it was in the line
CREATE OR REPLACE FUNCTION ${strikeOut}(json) RETURNS json
LANGUAGE plpgsql SET lock_timeout = '${MAX_ROW_WAIT_MS}ms' AS $once$
#variable_conflict use_column
<<step>>
DECLARE
  key text := $1->>1;
  owner text := $1->>2;
  was_there boolean;
  is_new boolean;
BEGIN
  IF NOT EXISTS (SELECT FROM ${line} AS p WHERE p.key = step.key AND p.owner = step.owner) THEN
    RETURN to_json(false);
  END IF;
  -- Locks the gate. That of a free key is there only meanwhile.
  LOOP
    INSERT INTO ${locks} AS l (key, state, token, owner, attempt, fence, since, expires)
    VALUES (step.key, 'done', '', '', 0, 0, clock_timestamp(), '-infinity')
    ON CONFLICT (key, place) DO NOTHING;
    is_new := FOUND;
    EXIT WHEN is_new;
    PERFORM FROM ${locks} AS l WHERE l.key = step.key AND l.place = 1 FOR UPDATE;
    EXIT WHEN FOUND;
  END LOOP;
  DELETE FROM ${line} AS p WHERE p.key = step.key AND p.owner = step.owner;
  was_there := FOUND;
  IF is_new THEN
    DELETE FROM ${locks} AS l WHERE l.key = step.key AND l.place = 1;
  END IF;
  RETURN to_json(was_there);
END $once$;
`;
}
