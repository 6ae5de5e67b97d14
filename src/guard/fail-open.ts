/** `onCacheError: 'run'`: work whose cache fails runs without a lock. */

import { asError, isCacheError } from '../core/errors.ts';
import { warn } from '../core/warnings.ts';
import type { DuplicateStrategy, GuardedWork } from '../duplicates/strategy.ts';
import type { AcquireAttempt, LockRequest } from '../lock/lock-request.ts';

/**
 * Asks for the key as the strategy does. Where the work fails open and the cache fails, its handle is not guarded.
 * @throws CacheError the cache could not decide, and the work does not fail open.
 */
export async function acquireOrFailOpen<Work extends GuardedWork>(
  work: Work,
  strategy: DuplicateStrategy<Work>,
): Promise<AcquireAttempt> {
  try {
    return await strategy.acquire(work);
  } catch (error) {
    // The work of a job that was cancelled meanwhile does not begin.
    if (work.signal?.aborted) throw error;
    rethrowUnlessOpen(work.request, error);
    return { acquired: true, handle: work.request.unguarded() };
  }
}

/**
 * Warns, now and then, that work runs without a lock. The event `cache-error` is emitted for each.
 * @throws the error, where the work does not fail open, or it is no error of the cache.
 */
function rethrowUnlessOpen({ terms }: LockRequest, error: unknown): void {
  if (!terms.failsOpen || !isCacheError(error)) throw error;
  const { code, message, cause } = error;
  warn(
    code,
    `${message}; the work runs without a lock, as onCacheError: 'run' says`,
    asError(cause ?? error).message,
  );
}
