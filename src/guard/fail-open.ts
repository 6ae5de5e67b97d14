/** Says that work runs unguarded because its cache failed: a warning now and then. The event `failed` tells of each case. */

import { asError, type CacheError } from '../core/errors.ts';
import { warn } from '../core/warnings.ts';

/** @throws any error that is not a cache's. */
export function tellUnguarded(error: unknown): void {
  if (!isCacheError(error)) throw error;
  const { message, cause, code } = error;
  warn(code, `${message}; it runs unguarded, as onCacheError: 'run' says`, asError(cause ?? error).message);
}

function isCacheError(error: unknown): error is CacheError {
  return (error as { code?: unknown } | null)?.code === 'ERR_LOCK_CACHE';
}
