/** Claims a key. */

import type { Holder, LockCache } from './caches/cache.ts';
import { cacheFrom } from './caches/registry.ts';
import { HeldLock } from './held-lock.ts';
import { keeperOf } from './keeper.ts';
import { scopedName } from './key/name.ts';
import { KeptLease, type LeaseRequest } from './lease.ts';
import { type CheckedLeaseOptions, DEFAULTS } from './options.ts';

/** Asks for one key, as often as it takes. */
export class Claimant {
  readonly cache: LockCache;
  readonly #request: LeaseRequest;
  readonly #inOrder: boolean;

  /** @param inOrder - see {@link HeldLock}. */
  constructor(cache: LockCache, request: LeaseRequest, inOrder: boolean) {
    this.cache = cache;
    this.#request = request;
    this.#inOrder = inOrder;
  }

  /** The key's full name in the cache. */
  get key(): string {
    return this.#request.key;
  }

  /**
   * @param waits - to be told when whoever holds the key lets go of it.
   * @returns the lock, or who holds it.
   * @throws CacheError the cache could not decide.
   */
  ask(waits = false): Promise<HeldLock | Holder> {
    const lease = new KeptLease(this.#request, waits);
    const keeper = keeperOf(this.cache);
    return keeper
      .claim(lease)
      .then(verdict => (verdict.taken ? new HeldLock(keeper, lease, this.#inOrder) : verdict.holder));
  }

  /** The lock of work that runs all the same, though the cache can't decide: it is not held, and has no fence. */
  unguarded(): HeldLock {
    const lease = new KeptLease(this.#request, false);
    lease.phase = 'over';
    return new HeldLock(keeperOf(this.cache), lease, false);
  }
}

/**
 * Claims a key that belongs to no queue.
 * @param name - the key as its user knows it.
 * @throws TypeError the option `cache` is a name that is not in the registry.
 */
export function scopedClaimant(
  name: string,
  { cache, scope = DEFAULTS.scope, ttl = DEFAULTS.ttl, maxHold }: CheckedLeaseOptions,
  owner: string,
): Claimant {
  const key = scopedName(scope, name);
  return new Claimant(cacheFrom(cache), { key, name, owner, attempt: 0, ttl, maxHold }, false);
}
