/**
 * What is stored under a key, and the rules by which a claim, a renewal and a release change it: those of every
 * cache that decides in JavaScript. The Lua of `redis-script.ts` says the same.
 */

import type { Arrival, Claim, Holder, Lease, Newest, Verdict } from './contract.ts';

/** The record of a holder. Times are in ms of whichever clock its cache uses. */
export interface LockRecord {
  readonly state: 'running' | 'done';
  readonly token: string;
  readonly fence: number;
  readonly attempt: number;
  readonly since: number;
  readonly owner: string;
  readonly expiresAt: number;
}

/** Writes a record as {@link parseRecord} reads it: the mark of a lock comes first. */
export function formatRecord(record: LockRecord): string {
  return JSON.stringify({ once: 1, ...record });
}

/** Reads a stored record: JSON whose first field says that a lock wrote it. Nothing, for a value that no lock wrote. */
export function parseRecord(value: unknown): LockRecord | undefined {
  if (typeof value !== 'string' || !value.startsWith('{"once":1,')) return undefined;
  let record: LockRecord;
  try {
    record = JSON.parse(value);
  } catch {
    // No answer is lost here: what can't be read was not written by a lock.
    return undefined;
  }
  const { state, token, fence, owner } = record;
  const isRecord =
    (state === 'running' || state === 'done') &&
    typeof token === 'string' &&
    typeof owner === 'string' &&
    Number.isSafeInteger(fence);
  return isRecord ? record : undefined;
}

/** The verdict on a claim, and the record to store where it was granted. */
export interface Decision {
  readonly verdict: Verdict;
  readonly record?: LockRecord;
}

/**
 * Decides a claim against the live record of its key, if there is one.
 * @param fence - one that is higher than every fence given out before.
 */
export function decide(claim: Claim, stored: LockRecord | undefined, now: number, fence: number): Decision {
  if (stored && stored.token === claim.token && stored.state === 'running') {
    return grant(claim, stored.since, now, stored.fence, false);
  }
  if (stored && !mayTakeOver(claim, stored)) {
    return { verdict: { taken: false, holder: holderOf(claim.key, stored, now) } };
  }
  return grant(claim, Date.now(), now, fence, stored !== undefined);
}

/** Whether a record is the lease's own, and still to be renewed or let go. */
export function isHeldBy(lease: Lease, stored: LockRecord | undefined): stored is LockRecord {
  return stored?.token === lease.token && stored.state === 'running';
}

export function holderOf(key: string, record: LockRecord, now: number): Holder {
  const { state, owner, fence, attempt, since, expiresAt } = record;
  return { key, state, owner, fence, attempt, since, expiresIn: Math.max(expiresAt - now, 0) };
}

/** The holder of a value that no lock wrote. */
export function foreignHolder(key: string, expiresIn: number = Number.POSITIVE_INFINITY): Holder {
  return { key, state: 'foreign', owner: '', fence: 0, attempt: 0, since: 0, expiresIn };
}

function mayTakeOver(claim: Claim, stored: LockRecord): boolean {
  return stored.state === 'running' && stored.owner === claim.owner && stored.attempt <= claim.attempt;
}

function grant(claim: Claim, since: number, now: number, fence: number, tookOver: boolean): Decision {
  const { token, owner, attempt, ttl } = claim;
  const record: LockRecord = { state: 'running', token, fence, attempt, since, owner, expiresAt: now + ttl };
  return { verdict: { taken: true, fence, tookOver }, record };
}

/** What is stored about the newest job of a key. */
export interface NewestRecord {
  readonly owner: string;
  readonly order: string;
  readonly waits: boolean;
  readonly expiresAt: number;
}

/** Decides which is the newest job, the one that came or the one that is stored, and what to store of it. */
export function outdo(
  arrival: Arrival,
  stored: NewestRecord | undefined,
  now: number,
): { newest: Newest; record: NewestRecord } {
  const { owner, order, waits, keepFor } = arrival;
  const expiresAt = Math.max(stored?.expiresAt ?? 0, now + keepFor);
  if (stored && stored.owner !== owner && !isNewer(arrival, stored.order)) {
    return {
      newest: { owner: stored.owner, waits: stored.waits },
      record: { ...stored, expiresAt },
    };
  }
  const outdone = stored?.waits && stored.owner !== owner ? stored.owner : undefined;
  return { newest: { owner, waits, outdone }, record: { owner, order, waits, expiresAt } };
}

function isNewer({ order, rerun }: Arrival, stored: string): boolean {
  return order === stored ? !rerun : order > stored;
}
