/** Who holds a key: what a cache says of it, and how it is described to people. */

import { shown } from './printable.ts';

/** The record of a lock, as a cache reports it. */
export interface LockRecord {
  /** The key's name in the cache. */
  readonly storedKey: string;
  /**
   * - `'running'`: leased;
   * - `'reserved'`: kept for the next run of its owner (`holdThroughRetries`);
   * - `'done'`: kept after a success (`dedupeFor`);
   * - `'parked'`: it is free, and the next in its line is on its way to it;
   * - `'foreign'`: a value that no lock wrote.
   */
  readonly state: LockState;
  /**
   * Who the lease is for: of a job `<prefix>:<queue>:<id>@<creation time>`, in 512 characters at most: a longer one ends in a hash.
   * Empty for a foreign value.
   */
  readonly owner: string;
  /** The fence of this acquisition; 0 for a foreign value. */
  readonly fence: number;
  /** Which run of its owner holds it, counted upwards; 0 where runs are not counted. */
  readonly attempt: number;
  /** When it was acquired, in ms since the epoch by the cache's clock; 0 for a foreign value. */
  readonly since: number;
  /** How long it stays held if nobody renews it, in ms; `Infinity` for a value that never expires. */
  readonly expiresIn: number;
  /** How long its lease lasts from a renewal, in ms; 0 for a foreign value. */
  readonly ttl: number;
  /** Of a reservation: in how many ms its owner is expected back, as far as that is known; negative if it is overdue. */
  readonly dueIn?: number | undefined;
  /** A hash of what must be equal besides the key (`match`). */
  readonly match?: string | undefined;
  /** Of a key that is held as done: how large the result is that is kept, as JSON in UTF-8. Absent where none is. */
  readonly resultBytes?: number | undefined;
}

export const LOCK_STATES = ['running', 'reserved', 'done', 'parked', 'foreign'] as const;
export type LockState = (typeof LOCK_STATES)[number];

/** Who holds a key. */
export interface Holder extends LockRecord {
  /** The key in the user's words. */
  readonly key: string;
  /** The id of the job that holds it, where it is a job's; absent where the id is too long for an owner. */
  readonly jobId?: string;
  /** The name of that job's queue. */
  readonly queueName?: string;
}

/** `job 17 of emails`, or the owner of a lock that is no job's. For people: printable, and not too long. */
export function nameOfHolder({
  jobId,
  queueName,
  owner,
}: Pick<Holder, 'jobId' | 'queueName' | 'owner'>): string {
  return jobId === undefined ? shown(owner) : nameOfJob(jobId, queueName);
}

/** A job is named like this in every error, log line, command and page. For people: printable, and not too long. */
export function nameOfJob(jobId: string | undefined, queueName: string | undefined): string {
  return jobId === undefined ? 'a job without an id' : `job ${shown(jobId)} of ${shown(`${queueName}`)}`;
}

/** Completes the sentence "lock 'welcome-42' …": `is held by job 17 of emails`. A lease is renewed: when it ends is nothing to tell. */
export function describeHolder(holder: Holder): string {
  const { state, expiresIn, dueIn = 0 } = holder;
  const left = Number.isFinite(expiresIn) ? ` for another ${describeDuration(expiresIn)}` : '';
  if (state === 'foreign') return `is held${left} by a value that is not a lock's`;
  if (state === 'parked') return `has ${nameOfHolder(holder)} next in its line`;
  if (state === 'done') return `was done by ${nameOfHolder(holder)} and stays held${left}`;
  if (state === 'reserved') {
    return `is reserved by ${nameOfHolder(holder)}, which ${dueIn > 0 ? `runs again in ${describeDuration(dueIn)}` : 'is to run again'}`;
  }
  return `is held by ${nameOfHolder(holder)}`;
}

/** `340 ms`, `12 s`. */
export function describeDuration(ms: number): string {
  return ms < 1000 ? `${Math.ceil(ms)} ms` : `${Math.round(ms / 1000)} s`;
}
