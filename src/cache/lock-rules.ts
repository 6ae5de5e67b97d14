/**
 * The rules of locks: what is stored under a key, and how an acquisition, a renewal and a release change it. Pure functions,
 * for every cache that decides in JavaScript. The Lua of `redis/scripts.ts` and the SQL of `postgres/step-sql.ts` follow the
 * same rules.
 */

import type { AcquireResult, AcquireStep, LockRecord, ReleaseStep, Reservation } from './contract.ts';

/** What is stored under a key. Times are in ms of the cache's clock. */
export interface StoredLock {
  readonly state: 'running' | 'reserved' | 'done';
  readonly token: string;
  readonly fence: number;
  readonly attempt: number;
  readonly since: number;
  readonly ttl: number;
  readonly owner: string;
  readonly expiresAt: number;
  /** Of a reservation: how long it lasts after its owner is expected back. */
  readonly grace?: number;
  /** A hash of what must be equal besides the key. */
  readonly match?: string | undefined;
  /** Of a key that is held as done: how large the result is that is kept. */
  readonly resultBytes?: number;
}

/** The result of an acquisition, and what to store if it was granted. */
export interface Decision {
  readonly result: AcquireResult;
  readonly stored?: StoredLock;
}

/**
 * Decides an acquisition.
 * @param stored - what is stored under its key and has not expired.
 * @param fence - one that is higher than every fence given out before.
 */
export function decideAcquire(
  step: AcquireStep,
  stored: StoredLock | undefined,
  now: number,
  fence: number,
): Decision {
  if (!stored) return granted(grant(step, Date.now(), now, fence));
  if (isHeldBy(step, stored)) return granted(grant(step, stored.since, now, stored.fence));
  if (mayReclaim(step, stored)) {
    return granted(grant(step, Date.now(), now, fence), { reclaimed: stored.state === 'running' });
  }
  return { result: { acquired: false, record: recordOf(step.storedKey, stored, now) } };
}

/** Decides a release by the holder: what is stored from now on; `undefined`: the key is free. */
export function decideRelease(
  { dedupeFor, reservation, result }: ReleaseStep,
  stored: StoredLock,
  now: number,
): StoredLock | undefined {
  if (reservation) {
    const { lastsFor } = reservation;
    return { ...stored, state: 'reserved', grace: graceOf(reservation), expiresAt: now + lastsFor };
  }
  if (dedupeFor === 0) return undefined;
  const done = { ...stored, state: 'done', expiresAt: now + dedupeFor } as const;
  return result && result.bytes > 0 ? { ...done, resultBytes: result.bytes } : done;
}

/** Whether the lease is the token's own, and may be renewed or released. */
export function isHeldBy({ token }: { readonly token: string }, stored: StoredLock): boolean {
  return stored.token === token && stored.state === 'running';
}

/** Whether an operator's step ends this acquisition. */
export function endsByForce(
  { fence }: { readonly fence?: number | undefined },
  stored: StoredLock | undefined,
): boolean {
  return stored !== undefined && (fence === undefined || fence === stored.fence);
}

export function recordOf(storedKey: string, stored: StoredLock, now: number): LockRecord {
  return liveRecordOf(storedKey, stored, Math.max(stored.expiresAt - now, 0));
}

/** @param expiresIn - how long it stays held if nobody renews it, in ms. */
export function liveRecordOf(
  storedKey: string,
  { state, owner, fence, attempt, since, ttl, grace, match, resultBytes }: Omit<StoredLock, 'expiresAt'>,
  expiresIn: number,
): LockRecord {
  const record: { -readonly [Field in keyof LockRecord]: LockRecord[Field] } = {
    storedKey,
    state,
    owner,
    fence,
    attempt,
    since,
    expiresIn,
    ttl,
  };
  if (grace !== undefined) record.dueIn = expiresIn - grace;
  if (match !== undefined) record.match = match;
  if (resultBytes !== undefined) record.resultBytes = resultBytes;
  return record;
}

/** How long a reservation lasts after its owner is expected back. */
export function graceOf({ dueIn, lastsFor }: Reservation): number {
  return Math.max(Math.ceil(lastsFor) - Math.ceil(dueIn), 0);
}

/** The record of a value that no lock wrote. */
export function foreignRecord(storedKey: string, expiresIn: number = Number.POSITIVE_INFINITY): LockRecord {
  return { storedKey, state: 'foreign', owner: '', fence: 0, attempt: 0, since: 0, expiresIn, ttl: 0 };
}

/**
 * An owner that runs again reclaims its own lease, or what is reserved for it. A run that is not newer does not, where runs are counted: it is another job
 * that was given the same id and time. Nor does a run whose work is done.
 */
export function mayReclaim({ owner, attempt }: AcquireStep, stored: StoredLock): boolean {
  if (stored.state === 'done' || stored.owner !== owner) return false;
  return stored.attempt < attempt || (stored.attempt === 0 && attempt === 0);
}

function granted(stored: StoredLock, { reclaimed = false }: { reclaimed?: boolean } = {}): Decision {
  return { result: { acquired: true, fence: stored.fence, reclaimed }, stored };
}

/** What is stored of a lease that is granted. */
export function grant(
  { token, owner, attempt, ttl, match }: AcquireStep,
  since: number,
  now: number,
  fence: number,
): StoredLock {
  const lease = { state: 'running', token, fence, attempt, since, ttl, owner, expiresAt: now + ttl } as const;
  return match === undefined ? lease : { ...lease, match };
}

/** Whether two name the same key for other data, as far as both say what must be equal. */
export function isMismatch(
  { match }: { readonly match?: string | undefined },
  held: { readonly match?: string | undefined },
): boolean {
  return match !== undefined && held.match !== undefined && held.match !== match;
}

/** Writes what {@link parseStored} reads: the mark of a lock comes first. */
export function formatStored(stored: StoredLock): string {
  return JSON.stringify({ once: 1, ...stored });
}

/** Reads what is stored: JSON whose first field says that a lock wrote it. `undefined` for a value that no lock wrote. */
export function parseStored(value: unknown): StoredLock | undefined {
  if (typeof value !== 'string' || !value.startsWith('{"once":1,')) return undefined;
  let stored: StoredLock;
  try {
    stored = JSON.parse(value);
  } catch {
    // No answer is lost here: what can't be parsed was not written by a lock.
    return undefined;
  }
  const { state, token, fence, owner, ttl } = stored;
  const isLock =
    (state === 'running' || state === 'reserved' || state === 'done') &&
    typeof token === 'string' &&
    typeof owner === 'string' &&
    Number.isSafeInteger(ttl) &&
    Number.isSafeInteger(fence);
  return isLock ? stored : undefined;
}
