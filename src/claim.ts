/** Claims a key that belongs to no queue. */

import type { Holder } from './caches/cache.ts';
import { cacheFrom } from './caches/registry.ts';
import { HeldLock } from './held-lock.ts';
import { keeperOf } from './keeper.ts';
import { scopedName } from './key/name.ts';
import { KeptLease } from './lease.ts';
import { type CheckedLeaseOptions, DEFAULTS } from './options.ts';

/**
 * @param name - the key as its user knows it.
 * @returns the lock, or who holds it.
 * @throws CacheError the cache could not decide.
 * @throws TypeError the option `cache` is a name that is not in the registry.
 */
export async function claimScoped(
  name: string,
  { cache, scope = DEFAULTS.scope, ttl = DEFAULTS.ttl, maxHold }: CheckedLeaseOptions,
  owner: string,
): Promise<HeldLock | Holder> {
  const keeper = keeperOf(cacheFrom(cache));
  const lease = new KeptLease({ key: scopedName(scope, name), name, owner, attempt: 0, ttl, maxHold });
  const verdict = await keeper.claim(lease);
  return verdict.taken ? new HeldLock(keeper, lease, false) : verdict.holder;
}
