/** The queries of `PostgresCache`, each with its parameters. `protocol.ts` and `line-protocol.ts` write these and read the rows. */

import { namesIn } from './names.ts';
import { foundSql } from './step-sql.ts';

/** How many locks are listed by one query. */
export const PAGE_SIZE = 500;

/** Does one step. Parameters: verb, key, token, ms, owner, attempt, more. */
export function stepCallSql(schema: string): string {
  return `SELECT ${namesIn(schema).step}($1, $2, $3, $4, $5, $6, $7) AS answer`;
}

/** Does one acquisition. Parameters: as of a step. */
export function acquireCallSql(schema: string): string {
  return `SELECT ${namesIn(schema).acquire}($1, $2, $3, $4, $5, $6, $7) AS answer`;
}

/** Does one release that keeps nothing. Parameters: key, token, whether the transaction is this statement's own. */
export function releaseCallSql(schema: string): string {
  return `SELECT ${namesIn(schema).release}($1, $2, $3) AS answer`;
}

/** Does a batch. Parameters: steps, sweep, whether the transaction is this statement's own. */
export function exchangeSql(schema: string): string {
  return `SELECT ${namesIn(schema).exchange}($1, $2, $3) AS answers`;
}

/** Does one step on a line and places. Parameter: the step. */
export function lineStepSql(schema: string, verb: 'enter' | 'leave' | 'strikeOut'): string {
  return `SELECT ${namesIn(schema)[verb]}($1)::text AS answer`;
}

/** Does a batch of steps on lines and places. Parameters: steps, sweep. */
export function lineStepsSql(schema: string): string {
  return `SELECT ${namesIn(schema).takeLineSteps}($1, $2) AS answers`;
}

const FOUND = `json_build_array(l.key, l.place, ${foundSql('l', 'clock_timestamp()')})::text AS found`;

/** Reports who holds some keys: of several holders of a key the one that acquired it first. Parameter: the keys. */
export function inspectSql(schema: string): string {
  return `
    SELECT DISTINCT ON (l.key) ${FOUND}
    FROM ${namesIn(schema).locks} AS l
    WHERE l.key = ANY($1::text[]) AND l.expires > clock_timestamp()
    ORDER BY l.key, l.fence`;
}

/** Finds the keys of which another transaction has locked a row. Parameter: the keys. */
export function lockedSql(schema: string): string {
  const { locks } = namesIn(schema);
  return `
    WITH free AS (SELECT key, place FROM ${locks} WHERE key = ANY($1::text[]) FOR UPDATE SKIP LOCKED)
    SELECT DISTINCT key FROM ${locks} WHERE key = ANY($1::text[]) AND (key, place) NOT IN (SELECT key, place FROM free)`;
}

/**
 * Lists some locks in the order of their names. Parameters: the beginning of the names, the name and the place after which to go
 * on.
 */
export function listSql(schema: string): string {
  return `
    SELECT ${FOUND}
    FROM ${namesIn(schema).locks} AS l
    WHERE starts_with(l.key, $1) AND (l.key, l.place) > ($2 COLLATE "C", $3::integer) AND l.expires > clock_timestamp()
    ORDER BY l.key, l.place LIMIT ${PAGE_SIZE}`;
}

/** Frees keys, whoever holds them. Parameters: the keys, of each the fence or null for any. */
export function forceReleaseSql(schema: string): string {
  return `SELECT ${namesIn(schema).forceRelease}($1, $2) AS answers`;
}

/**
 * Reports how some lines stand: [how many hold the key, how many are parked, the head, how many are before an owner, whether it holds
 * the key]. Parameters: the keys, the owners.
 */
export function linesSql(schema: string): string {
  const { locks, line } = namesIn(schema);
  return `
    SELECT json_build_array(
      (SELECT count(*) FROM ${locks} AS l WHERE l.key = asked.key AND l.expires > clock_timestamp()),
      (SELECT count(*) FROM ${line} AS p WHERE p.key = asked.key),
      (SELECT p.owner FROM ${line} AS p WHERE p.key = asked.key ORDER BY p.joined LIMIT 1),
      (SELECT (SELECT count(*) FROM ${line} AS p WHERE p.key = asked.key AND p.joined < own.joined)
       FROM ${line} AS own WHERE own.key = asked.key AND own.owner = asked.owner),
      EXISTS (SELECT FROM ${locks} AS l
              WHERE l.key = asked.key AND l.owner = asked.owner AND l.expires > clock_timestamp()))::text AS line
    FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked(key, owner, at)
    ORDER BY asked.at`;
}

/** Reads the results that are kept for some keys. Parameter: the keys. */
export function resultsSql(schema: string): string {
  return `
    SELECT r.key, r.result FROM ${namesIn(schema).result} AS r
    WHERE r.key = ANY($1::text[]) AND r.expires > clock_timestamp()`;
}
