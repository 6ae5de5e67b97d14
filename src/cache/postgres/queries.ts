/** The queries of `PostgresCache`, each with its parameters. `protocol.ts` writes these and reads the rows. */

import { ANNOUNCE, EXCHANGE, quote, STEP } from './migration.ts';
import { notifySql, outlastSql } from './step-sql.ts';

/** How many locks are listed by one query. */
export const PAGE_SIZE = 500;

/** Records arrivals. Parameter: arrivals. */
export function announceSql(schema: string): string {
  return `SELECT ${quote(schema)}.${ANNOUNCE}($1) AS newest`;
}

/** Does one step. Parameters: verb, key, token, ms, owner, attempt. */
export function stepCallSql(schema: string): string {
  return `SELECT ${quote(schema)}.${STEP}($1, $2, $3, $4, $5, $6) AS answer`;
}

/** Does a batch. Parameters: steps, sweep. */
export function exchangeSql(schema: string): string {
  return `SELECT ${quote(schema)}.${EXCHANGE}($1, $2) AS answers`;
}

/** A lock in the form in which a refused acquisition reports it, after its key. */
const SELECT_FOUND = `SELECT json_build_array(key, json_build_array(
      state, owner, attempt, fence, floor(extract(epoch FROM since) * 1000),
      ceil(extract(epoch FROM expires - clock_timestamp()) * 1000), ttl, grace))::text AS found`;

/** Reports who holds some keys. Parameter: the keys. */
export function inspectSql(schema: string): string {
  return `
    ${SELECT_FOUND}
    FROM ${quote(schema)}.once_lock
    WHERE key = ANY($1::text[]) AND expires > clock_timestamp()`;
}

/** Finds the keys whose rows another transaction has locked. Parameter: the keys. */
export function lockedSql(schema: string): string {
  return `
    WITH free AS (SELECT key FROM ${quote(schema)}.once_lock WHERE key = ANY($1::text[]) FOR UPDATE SKIP LOCKED)
    SELECT key FROM ${quote(schema)}.once_lock WHERE key = ANY($1::text[]) AND key NOT IN (SELECT key FROM free)`;
}

/** Lists some locks in the order of their names. Parameters: the beginning of the names, the name after which to go on. */
export function listSql(schema: string): string {
  return `
    ${SELECT_FOUND}
    FROM ${quote(schema)}.once_lock
    WHERE starts_with(key, $1) AND key > $2 COLLATE "C" AND state <> 'newest' AND expires > clock_timestamp()
    ORDER BY key LIMIT ${PAGE_SIZE}`;
}

/** Frees keys, whoever holds them, and notifies those who wait. Parameters: the keys, of each the fence or null for any. */
export function forceReleaseSql(schema: string): string {
  return `
    WITH freed AS (
      DELETE FROM ${quote(schema)}.once_lock AS l
      USING unnest($1::text[], $2::bigint[]) AS given(key, fence)
      WHERE l.key = given.key AND (given.fence IS NULL OR l.fence = given.fence)
        AND l.state <> 'newest' AND l.expires > clock_timestamp()
      RETURNING l.key, l.fence, l.awaited)
    SELECT key, CASE WHEN awaited THEN ${notifySql('key')} END, ${outlastSql('fence')} FROM freed`;
}
