/** The mode `'observe'`: all work runs, and what would have become of a duplicate is emitted as its event. */

import { setTimeout as delay } from 'node:timers/promises';
import { isMismatch } from '../cache/lock-rules.ts';
import { asError, KeyError } from '../core/errors.ts';
import { within } from '../core/within.ts';
import type { DuplicateStrategy, GuardedWork } from '../duplicates/strategy.ts';
import { emitCacheError, emitKeyError } from '../lock/lease-events.ts';
import type { LeaseTerms } from '../lock/lease-terms.ts';
import type { LockHandle } from '../lock/lock-handle.ts';
import type { AcquireAttempt, LockRequest } from '../lock/lock-request.ts';

/** Observed work waits no longer than this for its cache. */
const MAX_WAIT_MS = 1000;

/** The strategy of a guard that only observes another one: whatever the key's state, the work runs. */
export function observing<Work extends GuardedWork>(
  strategy: DuplicateStrategy<Work>,
): DuplicateStrategy<Work> {
  const { outcome, whenDone = outcome } = strategy;
  return {
    needs: {},
    outcome,
    acquire: async ({ request }) =>
      strategy.waits ? { acquired: true, handle: request.unguarded() } : acquireSoon(request),
    onHeld(work, holder) {
      const ofDuplicate = holder.state === 'done' ? whenDone : outcome;
      const would = isMismatch(work.request.terms, holder) ? 'mismatched' : ofDuplicate;
      work.request.emitOutcome(would, holder, { observed: true });
      return work.run(work.request.unguarded());
    },
    run: (work, handle) => (strategy.waits ? runBesideWait(work, strategy) : runBesideRelease(work, handle)),
  };
}

/** Emits why work runs without a lock before it could even ask for its key. */
export function emitUnlocked(terms: LeaseTerms, error: unknown): void {
  if (error instanceof KeyError) emitKeyError(terms, error);
  else emitCacheError(terms, 'acquire', asError(error));
}

/** A cache that fails, or is slow, holds observed work up for no longer than this. The event `cache-error` is emitted. */
async function acquireSoon(request: LockRequest): Promise<AcquireAttempt> {
  const attempt = request.tryAcquire();
  try {
    const inTime = await within(MAX_WAIT_MS, attempt);
    if (inTime) return inTime;
    releaseWhenAcquired(attempt);
  } catch {
    // The event says why.
  }
  return { acquired: true, handle: request.unguarded() };
}

/** The work has begun without it. */
function releaseWhenAcquired(attempt: Promise<AcquireAttempt>): void {
  attempt.then(
    late => late.acquired && late.handle.release(),
    () => {},
  );
}

/** The result of observed work does not wait for the release of its key. */
function runBesideRelease(work: GuardedWork, handle: LockHandle): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const released = work.run(handle, async run => {
      try {
        const result = await run();
        resolve(result);
        return result;
      } catch (error) {
        reject(error);
        throw error;
      }
    });
    // It has the error too.
    released.catch(() => {});
  });
}

/**
 * Observed work does not wait for its key. It runs at once, and its wait goes on beside it. If the wait ends with the key, the key
 * is held for as long as the work took, as it would have been.
 */
function runBesideWait<Work extends GuardedWork>(
  work: Work,
  strategy: DuplicateStrategy<Work>,
): Promise<unknown> {
  const startedAt = performance.now();
  const result = work.run(work.request.unguarded());
  const duration = result.then(
    () => performance.now() - startedAt,
    () => performance.now() - startedAt,
  );

  async function waitAndHold(): Promise<void> {
    const attempt = await strategy.acquire(work);
    if (!attempt.acquired) {
      work.request.emitOutcome(strategy.outcome, attempt.holder, { observed: true });
      return;
    }
    const acquiredAt = performance.now();
    await work.run(attempt.handle, async () => {
      const heldUntil = acquiredAt + (await duration);
      await delay(Math.max(heldUntil - performance.now(), 0), undefined, { ref: false });
      return result;
    });
  }
  // Neither the work's own failure nor the cache's is reported here: the one is the work's, for the other there is an event.
  waitAndHold().catch(() => {});
  return result;
}
