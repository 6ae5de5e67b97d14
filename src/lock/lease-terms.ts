/** What a lease is acquired for, and on which terms. */

import type { LineKind } from '../cache/contract.ts';
import type { Emitter } from '../events/emitter.ts';

/** Times are in ms. */
export interface LeaseTerms {
  /** The key's name in the cache. */
  readonly storedKey: string;
  /** The key in the user's words. */
  readonly key: string;
  readonly owner: string;
  /** Which run of the owner asks; 0 where runs are not counted. */
  readonly attempt: number;
  readonly ttl: number;
  /** A hash of what must be equal besides the key. */
  readonly match?: string | undefined;
  /** How long it is renewed at most. */
  readonly maxHold: number;
  /** When the key was first asked for, on the monotonic clock. */
  readonly requestedAt: number;
  readonly emitter: Emitter;
  /** The work runs without a lock if the cache fails. */
  readonly failsOpen: boolean;
  /** Present where the key has several places, or a line. */
  readonly line?: LineTerms | undefined;
  /** The job that it is for. */
  readonly queueName: string | undefined;
  readonly jobId: string | undefined;
}

/** How a key is asked for that has several places, or a line of those who are parked for it. */
export interface LineTerms {
  readonly places: number;
  /** Absent where nobody is parked. */
  readonly kind: LineKind | undefined;
  /** The holder is called when it joins the line. */
  readonly interrupts: boolean;
  /** Called when the key was released, with the owner whose turn it is then. */
  readonly onNext: (owner: string) => void;
  /** Called when the work was done, with those that share its result. */
  readonly onAnswered: (owners: readonly string[]) => void;
}

/** The terms of a key with several places for which nobody is parked; `undefined` where it has one. */
export function placesOnly(places: number): LineTerms | undefined {
  return places === 1 ? undefined : lineTerms(places, undefined);
}

/** The terms of a key for which nobody is promoted. */
export function lineTerms(places: number, kind: LineKind | undefined): LineTerms {
  return { places, kind, interrupts: false, onNext: () => {}, onAnswered: () => {} };
}

/** The terms of work that runs without a lock: it has no key. */
export function keylessTerms({
  emitter,
  queueName,
  jobId,
}: Pick<LeaseTerms, 'emitter'> & Partial<Pick<LeaseTerms, 'queueName' | 'jobId'>>): LeaseTerms {
  const nothing = { storedKey: '', key: '', owner: '', attempt: 0, ttl: 0, maxHold: 0, requestedAt: 0 };
  return { ...nothing, emitter, failsOpen: true, queueName, jobId };
}
