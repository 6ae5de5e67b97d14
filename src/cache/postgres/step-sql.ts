/** The rules of locks in SQL: one step, atomic by itself. The function for one step and that for a batch contain the same text. */

import type { Names } from './names.ts';

/** The channel on which releases are notified. */
export const CHANNEL = 'bullmq_once';

/** How long a step waits for its row. A batch of our own is done sooner. */
export const MAX_ROW_WAIT_MS = 250;

/**
 * An insertion that took longer may have waited for a transaction that released the key, which others held after the time was read.
 * A client needs more than this to acquire and release a key, in two transactions: 38 µs is the least that was measured.
 */
export const MAX_UNNOTICED_WAIT: string = "interval '30 microseconds'";

/** Notifies the release of a key. Every role of the database may listen to every channel, so a hash stands for the key. */
export function notifySql(key: string): string {
  return `pg_notify('${CHANNEL}', encode(sha256(convert_to(${key}, 'UTF8')), 'base64'))`;
}

/**
 * Waits where the clock still shows the time that a fence was made of: whoever acquires the key next would get the same fence.
 * PGlite's clock moves once in a ms.
 */
export function outlastSql(fence: string): string {
  return `IF ${fence} >= ${FENCE_NOW} THEN PERFORM pg_sleep(0.001); END IF;`;
}

/**
 * Lets the end of the transaction not wait for the disk: for one that does no more than release. If the server fails before it has written
 * that down, the lock is held again until its lease ends, as that of a process that failed. It is written down with the next transaction
 * that waits, or within a second. Of a queue in the same database that transaction ends the job itself: if it was lost too, the job runs
 * again, and reclaims its lock.
 *
 * A transaction of the user's keeps what it has. Only the client knows whose it is, and a `pool.query('BEGIN')` deceives it too. Such a
 * transaction began 20 µs at least before its next statement; one of our own begins 4 µs before its statement is executed, as measured.
 *
 * PGlite writes nothing down by itself.
 *
 * https://www.postgresql.org/docs/current/wal-async-commit.html
 *
 * @param isOwn - whether the client says that the transaction is this statement's own.
 */
export function relaxCommitSql(isOwn: string): string {
  return `IF ${isOwn} AND version() NOT LIKE '%PGlite%'
      AND statement_timestamp() BETWEEN transaction_timestamp() AND transaction_timestamp() + interval '15 microseconds' THEN
    SET LOCAL synchronous_commit = off;
  END IF;`;
}

/** The fence that an acquisition would get now. */
const FENCE_NOW = fenceAt('clock_timestamp()');

/** The microseconds of a time. */
export function fenceAt(time: string): string {
  return `(extract(epoch FROM ${time}) * 1000000)::bigint`;
}

/** The ms of a time. */
export function msAt(time: string): string {
  return `floor(extract(epoch FROM ${time}) * 1000)::bigint`;
}

/**
 * A lock in the form in which a refused acquisition reports it: [state, owner, attempt, fence, since, ms left, ttl, grace, match, bytes of
 * the result].
 */
export function foundSql(held: string, now: string): string {
  return `json_build_array(
            ${held}.state, ${held}.owner, ${held}.attempt, ${held}.fence, ${msAt(`${held}.since`)},
            ceil(extract(epoch FROM ${held}.expires - ${now}) * 1000), ${held}.ttl, ${held}.grace,
            ${held}.match, ${held}.result_bytes)`;
}

/** What {@link stepSql} uses besides `step`. It leaves its answer in `answer`. */
export function stepVariablesSql({ locks }: Names): string {
  return `
  answer json;
  held ${locks};
  asked timestamptz;
  was_reclaimed boolean;
  -- The last key that was released here, and its fence: if it is acquired again at once, its fence must be above that.
  freed_key text;
  freed_fence bigint;
  least bigint;`;
}

/**
 * Does one step. In it `step` has the fields verb, key, token, ms, lasts, owner, attempt and more. Time is read where it is needed, since a
 * step may have waited for another transaction.
 *
 * A key that is held alone has one row. Where it has several, the functions of `line-sql.ts` decide.
 */
export function stepSql({ locks, enter, leave, keep }: Names): string {
  /** Ends or extends a lease, where it stands. */
  const extendSql = (which: string) => `
      UPDATE ${locks} AS l
      SET state = CASE step.verb WHEN 'release' THEN 'done' WHEN 'keep' THEN 'done' WHEN 'reserve' THEN 'reserved' ELSE 'running' END,
          grace = CASE step.verb WHEN 'reserve' THEN step.owner::bigint END,
          result_bytes = CASE step.verb WHEN 'keep' THEN step.owner::integer END,
          expires = clock_timestamp() + step.lasts
      WHERE l.key = step.key AND ${which} AND l.token = step.token AND l.state = 'running' AND l.expires > clock_timestamp();
      answer := to_json(FOUND);`;
  return `
    IF step.verb = 'release' AND step.lasts = interval '0' THEN
      DELETE FROM ${locks} AS l
      WHERE l.key = step.key AND l.place = 1 AND l.token = step.token AND l.state = 'running' AND NOT l.shared
      RETURNING l.* INTO held;
      answer := to_json(FOUND AND held.expires > clock_timestamp());
      IF FOUND THEN
        freed_key := step.key;
        freed_fence := held.fence;
        ${outlastSql('held.fence')}
        IF held.awaited THEN
          PERFORM ${notifySql('step.key')};
        END IF;
      ELSIF EXISTS (SELECT FROM ${locks} AS l WHERE l.key = step.key AND l.token = step.token) THEN
        answer := ${leave}(json_build_array('leave', step.key, step.token, 0, '', NULL, 1, '', 0))->0;
      END IF;

    ELSIF step.verb IN ('release', 'keep', 'reserve', 'renew') THEN
      ${extendSql('l.place = 1')}
      IF NOT FOUND AND EXISTS (SELECT FROM ${locks} AS l WHERE l.key = step.key AND l.token = step.token AND l.place > 1) THEN
        PERFORM FROM ${locks} AS l WHERE l.key = step.key AND l.place = 1 FOR UPDATE;
        ${extendSql('l.place > 1')}
      END IF;
      IF FOUND AND step.verb = 'keep' THEN
        PERFORM ${keep}(step.key, step.more, step.lasts);
      END IF;

    ELSE
      LOOP
        asked := clock_timestamp();
        least := CASE WHEN freed_key = step.key THEN freed_fence + 1 ELSE 0 END;
        INSERT INTO ${locks} AS l (key, state, token, owner, attempt, fence, since, ttl, expires, match)
        VALUES (step.key, 'running', step.token, step.owner, step.attempt,
                greatest(least, ${fenceAt('asked')}), asked, step.ms, asked + step.lasts, step.more)
        ON CONFLICT (key, place) DO NOTHING
        RETURNING l.* INTO held;
        IF FOUND THEN
          IF clock_timestamp() > asked + ${MAX_UNNOTICED_WAIT} THEN
            asked := clock_timestamp();
            UPDATE ${locks} AS l
            SET fence = greatest(least, ${fenceAt('asked')}),
                since = asked, expires = asked + step.lasts
            WHERE l.key = step.key AND l.place = 1
            RETURNING l.* INTO held;
          END IF;
          answer := json_build_array(held.fence, false);
          EXIT;
        END IF;

        SELECT * INTO held FROM ${locks} AS l WHERE l.key = step.key AND l.place = 1;
        -- It was released in between.
        CONTINUE WHEN NOT FOUND;
        asked := clock_timestamp();
        IF held.shared THEN
          answer := ${enter}(json_build_array(
            'acquire', step.key, step.token, step.ms, step.owner, step.attempt, 1, '', true, step.verb = 'acquire-notify', false,
            step.more));
          answer := answer->'acquired';
          EXIT WHEN answer IS NOT NULL;
          SELECT * INTO held FROM ${locks} AS l WHERE l.key = step.key AND l.expires > asked ORDER BY l.fence LIMIT 1;
          CONTINUE WHEN NOT FOUND;
          answer := ${foundSql('held', 'asked')};
          EXIT;
        END IF;
        was_reclaimed := held.expires > asked;
        IF was_reclaimed AND held.state = 'running' AND held.token = step.token THEN
          -- The same step, sent again because its answer got lost.
          was_reclaimed := false;
          asked := held.since;
        ELSIF was_reclaimed AND NOT (held.state <> 'done' AND held.owner = step.owner
            AND (held.attempt < step.attempt OR (held.attempt = 0 AND step.attempt = 0))) THEN
          answer := ${foundSql('held', 'asked')};
          IF step.verb = 'acquire-notify' AND held.state = 'running' AND NOT held.awaited THEN
            UPDATE ${locks} AS l SET awaited = true
            WHERE l.key = step.key AND l.place = 1 AND l.token = held.token AND l.state = 'running';
            -- It was released in between.
            CONTINUE WHEN NOT FOUND;
          END IF;
          EXIT;
        ELSE
          held.fence := greatest(held.fence + 1, ${fenceAt('asked')});
          -- A reservation was ended by its run.
          was_reclaimed := was_reclaimed AND held.state = 'running';
        END IF;
        UPDATE ${locks} AS l
        SET state = 'running', token = step.token, owner = step.owner, attempt = step.attempt, fence = held.fence,
            since = asked, ttl = step.ms, expires = clock_timestamp() + step.lasts, grace = NULL, match = step.more,
            result_bytes = NULL
        WHERE l.key = step.key AND l.place = 1 AND NOT l.shared
          AND l.token = held.token AND l.state = held.state AND l.expires = held.expires;
        -- Else it was renewed, acquired or released in between.
        IF FOUND THEN
          answer := json_build_array(held.fence, was_reclaimed);
          EXIT;
        END IF;
      END LOOP;
    END IF;`;
}
