/** Emits what happens to a lease. No event is built where nobody listens. */

import type { Reservation } from '../cache/contract.ts';
import type { LossReason } from '../core/errors.ts';
import type { Holder } from '../core/holder.ts';
import type { CacheOperation, LockSubject, Outcome } from '../events/events.ts';
import type { LeaseTerms } from './lease-terms.ts';

/** What every event says of the lock. */
function subjectOf({ key, storedKey, owner, queueName, jobId }: LeaseTerms): LockSubject {
  return { key, storedKey, owner, ...(queueName !== undefined && { queueName, jobId }) };
}

export function emitAcquired(terms: LeaseTerms, fence: number, { reclaimed }: { reclaimed: boolean }): void {
  const { emitter, requestedAt } = terms;
  if (reclaimed && emitter.isObserved('reclaimed')) {
    emitter.emit({ type: 'reclaimed', ...subjectOf(terms), fence });
  }
  if (!emitter.isObserved('acquired')) return;
  emitter.emit({ type: 'acquired', ...subjectOf(terms), fence, waitedFor: performance.now() - requestedAt });
}

export function emitRenewed(terms: LeaseTerms, fence: number, ttl: number): void {
  if (!terms.emitter.isObserved('renewed')) return;
  terms.emitter.emit({ type: 'renewed', ...subjectOf(terms), fence, ttl });
}

export function emitLost(terms: LeaseTerms, fence: number, reason: LossReason): void {
  if (!terms.emitter.isObserved('lost')) return;
  terms.emitter.emit({ type: 'lost', ...subjectOf(terms), fence, reason });
}

export function emitReleased(terms: LeaseTerms, fence: number, heldFor: number, dedupeFor: number): void {
  if (!terms.emitter.isObserved('released')) return;
  terms.emitter.emit({ type: 'released', ...subjectOf(terms), fence, heldFor, dedupeFor });
}

export function emitReserved(
  terms: LeaseTerms,
  fence: number,
  heldFor: number,
  { dueIn, lastsFor }: Reservation,
): void {
  if (!terms.emitter.isObserved('reserved')) return;
  terms.emitter.emit({ type: 'reserved', ...subjectOf(terms), fence, heldFor, dueIn, lastsFor });
}

/** @param observed - it runs all the same: this is what would have become of it. */
export function emitOutcome(
  terms: LeaseTerms,
  outcome: Outcome,
  holder: Holder | undefined,
  { observed = false }: { observed?: boolean } = {},
): void {
  if (!terms.emitter.isObserved(outcome)) return;
  terms.emitter.emit({ type: outcome, ...subjectOf(terms), holder, observed });
}

export function emitCacheError(terms: LeaseTerms, operation: CacheOperation, error: Error): void {
  if (!terms.emitter.isObserved('cache-error')) return;
  const failedOpen = terms.failsOpen && operation === 'acquire';
  terms.emitter.emit({ type: 'cache-error', ...subjectOf(terms), operation, error, failedOpen });
}

export function emitKeyError(terms: LeaseTerms, error: Error): void {
  if (!terms.emitter.isObserved('key-error')) return;
  terms.emitter.emit({ type: 'key-error', ...subjectOf(terms), error });
}
