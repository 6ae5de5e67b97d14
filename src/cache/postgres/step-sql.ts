/** The rules of locks in SQL: one step, atomic by itself. The function for one step and that for a batch contain the same text. */

/** The channel on which releases are notified. */
export const CHANNEL = 'bullmq_once';

/** Notifies the release of a key. Every role of the database may listen to every channel, so a hash stands for the key. */
export function notifySql(key: string): string {
  return `pg_notify('${CHANNEL}', encode(sha256(convert_to(${key}, 'UTF8')), 'base64'))`;
}

/**
 * Waits where the clock still shows the time that a fence was made of: whoever acquires the key next would get the same fence.
 * PGlite's clock moves once in a ms.
 */
export function outlastSql(fence: string): string {
  return `CASE WHEN ${fence} >= ${FENCE_NOW} THEN pg_sleep(0.001) END`;
}

const FENCE_NOW = fenceAt('clock_timestamp()');

/** The microseconds of a time. */
function fenceAt(time: string): string {
  return `(extract(epoch FROM ${time}) * 1000000)::bigint`;
}

/** What {@link stepSql} uses besides `step`. It leaves its answer in `answer`. */
export function stepVariablesSql(table: string): string {
  return `
  answer json;
  held ${table};
  asked timestamptz;
  was_reclaimed boolean;
  -- The last key that was released here, and its fence: if it is acquired again at once, its fence must be above that.
  freed_key text;
  freed_fence bigint;
  least bigint;`;
}

/**
 * Does one step. In it `step` has the fields verb, key, token, ms, lasts, owner and attempt. Time is read where it is needed, since a
 * step may have waited for another transaction.
 */
export function stepSql(table: string): string {
  return `
    IF step.verb = 'release' AND step.lasts = interval '0' THEN
      DELETE FROM ${table} AS l
      WHERE l.key = step.key AND l.token = step.token AND l.state = 'running'
      RETURNING l.* INTO held;
      answer := to_json(FOUND AND held.expires > clock_timestamp());
      IF FOUND THEN
        freed_key := step.key;
        freed_fence := held.fence;
        PERFORM ${outlastSql('held.fence')};
        IF held.awaited THEN
          PERFORM ${notifySql('step.key')};
        END IF;
      END IF;

    ELSIF step.verb IN ('release', 'reserve', 'renew') THEN
      UPDATE ${table} AS l
      SET state = CASE step.verb WHEN 'release' THEN 'done' WHEN 'reserve' THEN 'reserved' ELSE 'running' END,
          grace = CASE step.verb WHEN 'reserve' THEN step.owner::bigint END,
          expires = clock_timestamp() + step.lasts
      WHERE l.key = step.key AND l.token = step.token AND l.state = 'running' AND l.expires > clock_timestamp();
      answer := to_json(FOUND);

    ELSE
      LOOP
        asked := clock_timestamp();
        least := CASE WHEN freed_key = step.key THEN freed_fence + 1 ELSE 0 END;
        INSERT INTO ${table} AS l (key, state, token, owner, attempt, fence, since, ttl, expires)
        VALUES (step.key, 'running', step.token, step.owner, step.attempt,
                greatest(least, ${fenceAt('asked')}), asked, step.ms, asked + step.lasts)
        ON CONFLICT (key) DO NOTHING
        RETURNING l.* INTO held;
        IF FOUND THEN
          -- It may have waited for a transaction that released the key, which others held after the time was read.
          -- Nobody acquires and releases a key, in two transactions, in less than this.
          IF clock_timestamp() > asked + interval '100 microseconds' THEN
            asked := clock_timestamp();
            UPDATE ${table} AS l
            SET fence = greatest(least, ${fenceAt('asked')}),
                since = asked, expires = asked + step.lasts
            WHERE l.key = step.key
            RETURNING l.* INTO held;
          END IF;
          answer := json_build_array(held.fence, false);
          EXIT;
        END IF;

        SELECT * INTO held FROM ${table} AS l WHERE l.key = step.key;
        -- It was released in between.
        CONTINUE WHEN NOT FOUND;
        asked := clock_timestamp();
        was_reclaimed := held.expires > asked;
        IF was_reclaimed AND held.state = 'running' AND held.token = step.token THEN
          -- The same step, sent again because its answer got lost.
          was_reclaimed := false;
          asked := held.since;
        ELSIF was_reclaimed AND NOT (held.state <> 'done' AND held.owner = step.owner
            AND (held.attempt < step.attempt OR (held.attempt = 0 AND step.attempt = 0))) THEN
          answer := json_build_array(
            held.state, held.owner, held.attempt, held.fence, floor(extract(epoch FROM held.since) * 1000),
            ceil(extract(epoch FROM held.expires - asked) * 1000), held.ttl, held.grace);
          IF step.verb = 'acquire-notify' AND held.state = 'running' AND NOT held.awaited THEN
            UPDATE ${table} AS l SET awaited = true
            WHERE l.key = step.key AND l.token = held.token AND l.state = 'running';
            -- It was released in between.
            CONTINUE WHEN NOT FOUND;
          END IF;
          EXIT;
        ELSE
          held.fence := greatest(held.fence + 1, ${fenceAt('asked')});
          -- A reservation was ended by its run.
          was_reclaimed := was_reclaimed AND held.state = 'running';
        END IF;
        UPDATE ${table} AS l
        SET state = 'running', token = step.token, owner = step.owner, attempt = step.attempt, fence = held.fence,
            since = asked, ttl = step.ms, expires = clock_timestamp() + step.lasts, grace = NULL
        WHERE l.key = step.key AND l.token = held.token AND l.state = held.state AND l.expires = held.expires;
        -- Else it was renewed, acquired or released in between.
        IF FOUND THEN
          answer := json_build_array(held.fence, was_reclaimed);
          EXIT;
        END IF;
      END LOOP;
    END IF;`;
}
