/** Claims a key. */

import type { Holder, LockCache } from '../cache/contract.ts';
import { cacheFrom } from '../cache/registry.ts';
import type { Fate } from '../events/events.ts';
import { HeldLock } from './lock-handle.ts';
import { keeperOf } from './lease-renewer.ts';
import { scopedName } from '../key/stored-name.ts';
import { KeptLease, type LeaseRequest } from './lease.ts';
import { about } from './lease-events.ts';
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

  /** The key as its user knows it. */
  get name(): string {
    return this.#request.name;
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

  /** The lock of work that runs all the same: it is not held, and has no fence. */
  unguarded(): HeldLock {
    return HeldLock.none(this.#request);
  }

  /**
   * Tells what becomes of a duplicate.
   * @param observed - it runs all the same.
   */
  tell(type: Fate, holder: Holder | undefined, observed = false): void {
    const { teller } = this.#request;
    if (teller.hears(type)) teller.tell({ type, ...about(this.#request), holder, observed });
  }

  /** Tells that the cache could not say which job is the newest of the key. */
  tellFailed(error: Error): void {
    const { teller } = this.#request;
    if (!teller.hears('failed')) return;
    teller.tell({ type: 'failed', ...about(this.#request), step: 'claim', error, unguarded: false });
  }
}

/**
 * Claims a key that belongs to no queue.
 * @param name - the key as its user knows it.
 * @param runsAnyway - the work runs though the cache can't decide.
 * @throws TypeError the option `cache` is a name that is not in the registry.
 */
export function scopedClaimant(
  name: string,
  { cache, scope = DEFAULTS.scope, ttl = DEFAULTS.ttl, maxHold, teller }: CheckedLeaseOptions,
  owner: string,
  runsAnyway = false,
): Claimant {
  const key = scopedName(scope, name);
  const since = performance.now();
  const request = {
    key,
    name,
    owner,
    attempt: 0,
    ttl,
    maxHold,
    since,
    teller,
    runsAnyway,
    queueName: undefined,
    jobId: undefined,
  };
  return new Claimant(cacheFrom(cache), request, false);
}
