/** What PostgreSQL's errors say of a query. */

import { refused } from '../refusals.ts';

/**
 * A transaction that ended with one of these (serialization failure, deadlock, a unique violation by a row that it did not see) did
 * nothing and can be tried again. They do not occur at PostgreSQL's default isolation level, READ COMMITTED.
 */
export const RETRYABLE_CODES: readonly string[] = ['40001', '40P01', '23505'];
/** There is no such function, table, or schema. */
export const NOT_MIGRATED_CODES: readonly string[] = ['42883', '42P01', '3F000'];
export const NOT_ALLOWED_CODE = '42501';
/** Another migration created the same thing at the same time: unique violation, duplicate schema, table, function, object. */
export const CREATED_MEANWHILE_CODES: readonly string[] = ['23505', '42P06', '42P07', '42723', '42710'];
const LOCKED_CODE = '55P03';

/** PostgreSQL's code of an error. */
export function codeOf(error: unknown): string {
  return String((error as { code?: unknown } | undefined)?.code);
}

/** Marks an error that the server gave: nothing was done. A locked row, or table, may be free soon. */
export function refusedBy(error: Error): Error {
  const isAnswer = 'severity' in error && !/^(?:08|57P)/.test(codeOf(error));
  return isAnswer ? refused(error, { isTransient: codeOf(error) === LOCKED_CODE }) : error;
}

/** The key in the table whose row someone else has locked, where that is the error of a batch. */
export function lockedKeyOf(error: unknown): string | undefined {
  const { detail } = error as { detail?: string };
  return codeOf(error) === LOCKED_CODE && detail ? detail : undefined;
}
