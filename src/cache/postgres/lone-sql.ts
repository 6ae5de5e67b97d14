/**
 * A lone acquisition and a lone release: most calls are one of the two. This SQL does the usual case at the least cost, and leaves any other
 * case to the function for one step. Both keep the same rules.
 */

import type { Names } from './names.ts';
import {
  fenceAt,
  foundSql,
  MAX_ROW_WAIT_MS,
  MAX_UNNOTICED_WAIT,
  notifySql,
  outlastSql,
  relaxCommitSql,
} from './step-sql.ts';

export function acquireFunctionSql({ locks, acquire, step }: Names): string {
  return `
-- One acquisition. It decides on a key that is free, or that another owner holds alone. Any other case is left to the function for a step.
--
-- $1 to $7  as of a step
-- returns   the fence, or what a step returns
CREATE OR REPLACE FUNCTION ${acquire}(text, text, text, bigint, text, bigint, text) RETURNS text
LANGUAGE plpgsql SET lock_timeout = '${MAX_ROW_WAIT_MS}ms' AS $once$
DECLARE
  asked timestamptz := clock_timestamp();
  new_fence bigint := ${fenceAt('asked')};
  answer text;
BEGIN
  INSERT INTO ${locks} AS l (key, state, token, owner, attempt, fence, since, ttl, expires, match)
  VALUES ($2, 'running', $3, $5, $6, new_fence, asked, $4, asked + $4 * interval '1 ms', $7)
  ON CONFLICT (key, place) DO NOTHING;
  IF FOUND THEN
    IF clock_timestamp() > asked + ${MAX_UNNOTICED_WAIT} THEN
      asked := clock_timestamp();
      new_fence := ${fenceAt('asked')};
      UPDATE ${locks} AS l SET fence = new_fence, since = asked, expires = asked + $4 * interval '1 ms'
      WHERE l.key = $2 AND l.place = 1;
    END IF;
    RETURN new_fence;
  END IF;

  asked := clock_timestamp();
  SELECT ${foundSql('l', 'asked')} INTO answer
  FROM ${locks} AS l
  WHERE l.key = $2 AND l.place = 1 AND NOT l.shared AND l.expires > asked AND l.owner <> $5
    -- Else the lease is to be marked, so that its release is notified.
    AND ($1 = 'acquire' OR l.awaited OR l.state <> 'running');
  IF FOUND THEN
    RETURN answer;
  END IF;
  RETURN ${step}($1, $2, $3, $4, $5, $6, $7);
END $once$;
`;
}

export function releaseFunctionSql({ locks, release, step }: Names): string {
  return `
-- One release that keeps nothing. It ends a lease that holds its key alone. Any other case is left to the function for a step.
--
-- $1       key
-- $2       token
-- $3       whether the transaction is this statement's own
-- returns  'true' if it was held until now, else 'false'
CREATE OR REPLACE FUNCTION ${release}(text, text, boolean) RETURNS text
LANGUAGE plpgsql SET lock_timeout = '${MAX_ROW_WAIT_MS}ms' AS $once$
DECLARE
  old_fence bigint;
  was_awaited boolean;
  was_held boolean;
BEGIN
  DELETE FROM ${locks} AS l
  WHERE l.key = $1 AND l.place = 1 AND l.token = $2 AND l.state = 'running' AND NOT l.shared
  RETURNING l.fence, l.awaited, l.expires > clock_timestamp() INTO old_fence, was_awaited, was_held;
  IF NOT FOUND THEN
    RETURN ${step}('release', $1, $2, 0, NULL, NULL, NULL);
  END IF;
  ${relaxCommitSql('$3')}
  ${outlastSql('old_fence')}
  IF was_awaited THEN
    PERFORM ${notifySql('$1')};
  END IF;
  RETURN was_held;
END $once$;
`;
}
