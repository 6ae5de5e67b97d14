/** Says that work runs unguarded because its cache failed: to whoever subscribes each time, and as a warning now and then. */

import { channel } from 'node:diagnostics_channel';
import { asError, type CacheError } from './errors.ts';

const failed = channel('bullmq-once:failed');
/** One warning in so many ms: an outage concerns every job. */
const WARN_EVERY = 60_000;
let warnAt = 0;

/** @throws any error that is not a cache's. */
export function tellUnguarded(error: unknown): void {
  if (!isCacheError(error)) throw error;
  if (failed.hasSubscribers) failed.publish({ key: error.key, error, unguarded: true });
  const now = performance.now();
  if (now < warnAt) return;
  warnAt = now + WARN_EVERY;
  process.emitWarning(`${error.message}; it runs unguarded, as onCacheError: 'run' says`, {
    type: 'OnceWarning',
    code: 'ERR_LOCK_CACHE',
    detail: asError(error.cause ?? error).message,
  });
}

function isCacheError(error: unknown): error is CacheError {
  return (error as { code?: unknown } | null)?.code === 'ERR_LOCK_CACHE';
}
