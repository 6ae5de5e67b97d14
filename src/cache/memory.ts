/**
 * Keeps leases in the memory of this process. Keeps all promises among those who share the instance, and knows
 * nothing of other processes. Expired records are swept as new ones come in; there is no timer.
 */

import { isLockName } from '../key/stored-name.ts';
import type { Arrival, Claim, Holder, Lease, LockCache, Newest, Verdict, Watch } from './contract.ts';
import { Ears } from './notify/listeners.ts';
import { decide, holderOf, isHeldBy, type LockRecord, type NewestRecord, outdo } from './lock-rules.ts';

/** Expired records are looked for when there are this many, and then at each doubling of those that live. */
const FIRST_SWEEP = 1024;

/**
 * A cache for one process: tests, command-line tools, `once` without a datastore.
 *
 * @example
 * ```ts
 * const lock = new Lock('nightly-report', { cache: new MemoryCache() });
 * ```
 */
export class MemoryCache implements LockCache {
  readonly #records = new Map<string, LockRecord>();
  readonly #newest = new Map<string, NewestRecord>();
  readonly #ears = new Ears();
  #lastFence = 0;
  #sweepAt = FIRST_SWEEP;

  async acquire(claims: readonly Claim[]): Promise<Verdict[]> {
    return claims.map(claim => this.#claim(claim));
  }

  async renew(leases: readonly Lease[]): Promise<boolean[]> {
    return leases.map(lease => {
      const stored = this.#live(lease.key);
      if (!isHeldBy(lease, stored)) return false;
      this.#records.set(lease.key, { ...stored, expiresAt: performance.now() + lease.ttl });
      return true;
    });
  }

  async release(leases: readonly Lease[]): Promise<boolean[]> {
    return leases.map(lease => {
      const stored = this.#live(lease.key);
      if (!isHeldBy(lease, stored)) return false;
      if (lease.keepFor === 0) {
        this.#records.delete(lease.key);
        this.#ears.tell(lease.key);
      } else {
        const expiresAt = performance.now() + lease.keepFor;
        this.#records.set(lease.key, { ...stored, state: 'done', expiresAt });
      }
      return true;
    });
  }

  async inspect(keys: readonly string[]): Promise<(Holder | undefined)[]> {
    return keys.map(key => {
      const stored = this.#live(key);
      return stored && holderOf(key, stored, performance.now());
    });
  }

  async *list(prefix: string): AsyncIterable<Holder> {
    for (const key of [...this.#records.keys()]) {
      if (!isLockName(key) || !key.startsWith(prefix)) continue;
      const [holder] = await this.inspect([key]);
      if (holder) yield holder;
    }
  }

  async evict(keys: readonly string[]): Promise<boolean[]> {
    return keys.map(key => {
      if (!this.#live(key)) return false;
      this.#records.delete(key);
      this.#ears.tell(key);
      return true;
    });
  }

  watch(key: string, tell: () => void): Watch {
    return this.#ears.open(key, tell);
  }

  async announce(arrivals: readonly Arrival[]): Promise<Newest[]> {
    return arrivals.map(arrival => {
      const now = performance.now();
      const stored = this.#newest.get(arrival.key);
      const { newest, record } = outdo(arrival, stored && stored.expiresAt > now ? stored : undefined, now);
      this.#newest.set(arrival.key, record);
      this.#sweepWhenFull();
      return newest;
    });
  }

  #claim(claim: Claim): Verdict {
    const fence = Math.max(Date.now() * 1000, this.#lastFence + 1);
    const { verdict, record } = decide(claim, this.#live(claim.key), performance.now(), fence);
    if (!record) return verdict;
    this.#lastFence = Math.max(this.#lastFence, record.fence);
    this.#records.set(claim.key, record);
    this.#sweepWhenFull();
    return verdict;
  }

  #live(key: string): LockRecord | undefined {
    const record = this.#records.get(key);
    return record && record.expiresAt > performance.now() ? record : undefined;
  }

  #sweepWhenFull(): void {
    if (this.#records.size + this.#newest.size < this.#sweepAt) return;
    const now = performance.now();
    for (const records of [this.#records, this.#newest]) {
      for (const [key, { expiresAt }] of records) if (expiresAt <= now) records.delete(key);
    }
    this.#sweepAt = Math.max(FIRST_SWEEP, (this.#records.size + this.#newest.size) * 2);
  }
}
