/** Makes the request for a key that belongs to no queue. */

import type { LockCache } from '../cache/contract.ts';
import { isInMemory, resolveCache } from '../cache/registry.ts';
import { warnOnce } from '../core/warnings.ts';
import { scopedName } from '../key/stored-name.ts';
import { type LeaseTerms, placesOnly } from './lease-terms.ts';
import { LockRequest } from './lock-request.ts';
import { DEFAULT_SCOPE, DEFAULT_TTL_MS, type ParsedLeaseOptions } from './options.ts';

/**
 * @param key - the key in the user's words.
 * @param failsOpen - the work runs without a lock if the cache fails.
 * @throws TypeError the option `cache` is a name that is not in the registry.
 */
export function scopedRequest(
  key: string,
  owner: string,
  { cache, scope = DEFAULT_SCOPE, ttl = DEFAULT_TTL_MS, maxHold, concurrency, onEvent }: ParsedLeaseOptions,
  {
    failsOpen = false,
    line = placesOnly(concurrency),
    match,
  }: { failsOpen?: boolean } & Partial<Pick<LeaseTerms, 'line' | 'match'>> = {},
): LockRequest {
  // Looked up now, because `caches` may have changed since the options were parsed.
  const resolved = resolveCache(cache);
  if (cache === undefined) warnIfInMemory(resolved);
  return new LockRequest(resolved, {
    key,
    storedKey: scopedName(scope, key),
    owner,
    attempt: 0,
    ttl,
    maxHold,
    requestedAt: performance.now(),
    emitter: onEvent,
    failsOpen,
    line,
    match,
    queueName: undefined,
    jobId: undefined,
  });
}

/** In production there is more than one process as a rule. Who gives a `MemoryCache` knows. */
function warnIfInMemory(cache: LockCache): void {
  if (process.env.NODE_ENV !== 'production' || !isInMemory(cache)) return;
  warnOnce(
    'ONCE_LOCK_IN_MEMORY',
    'a Lock, or a function of once, has no cache: it is kept in the memory of this process, where others do not see it; give it a ' +
      'cache, or set caches.default; if one process is meant, give it a MemoryCache',
  );
}
