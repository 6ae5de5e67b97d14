/**
 * Makes a lock cache of any store that has `get`, `set` and `delete` (or `del`): a `Map`, a Keyv, a cache-manager
 * cache, an lru-cache, a class of the user's own.
 *
 * Such a store can't decide atomically. Within one process the steps on a key are run one after the other, so
 * there all promises hold; between processes that share the store, exclusion does not.
 */

import { asError } from '../core/errors.ts';
import { isLockName } from '../key/stored-name.ts';
import type { Arrival, Claim, Holder, Lease, LockCache, Newest, Verdict, Watch } from './contract.ts';
import { Ears } from './notify/listeners.ts';
import {
  decide,
  foreignHolder,
  formatRecord,
  holderOf,
  isHeldBy,
  type LockRecord,
  type NewestRecord,
  outdo,
  parseRecord,
} from './lock-rules.ts';

/** A store with the verbs that nearly every cache has. Each may answer at once or with a promise. */
export interface SimpleStore {
  get(key: string): unknown;
  set(key: string, value: any, expiry?: any): unknown;
  delete?(key: string): unknown;
  del?(key: string): unknown;
}

export class SimpleCache implements LockCache {
  readonly #store: SimpleStore;
  /** The last step on each key that has one under way. */
  readonly #steps = new Map<string, Promise<unknown>>();
  readonly #ears = new Ears();
  #lastFence = 0;
  /** There only where the store can tell its keys, as a `Map` and an lru-cache do. */
  readonly list?: (prefix: string) => AsyncIterable<Holder>;

  constructor(store: SimpleStore) {
    this.#store = store;
    if ('keys' in store && typeof store.keys === 'function') {
      const keys = store.keys.bind(store) as () => Iterable<unknown>;
      this.list = prefix => this.#list(keys, prefix);
    }
  }

  /** Whether the store is known to be in the memory of this process. */
  get isInMemory(): boolean {
    return this.#store instanceof Map || isLruCache(this.#store);
  }

  acquire(claims: readonly Claim[]): Promise<(Verdict | Error)[]> {
    return this.#each(claims, claim => this.#claim(claim));
  }

  renew(leases: readonly Lease[]): Promise<(boolean | Error)[]> {
    return this.#each(leases, async lease => {
      const stored = await this.#read(lease.key);
      if (stored === 'foreign' || !isHeldBy(lease, stored)) return false;
      const renewed = { ...stored, expiresAt: Date.now() + lease.ttl };
      await this.#keep(lease.key, formatRecord(renewed), lease.ttl);
      return true;
    });
  }

  release(leases: readonly Lease[]): Promise<(boolean | Error)[]> {
    return this.#each(leases, async lease => {
      const stored = await this.#read(lease.key);
      if (stored === 'foreign' || !isHeldBy(lease, stored)) return false;
      if (lease.keepFor === 0) {
        await this.#delete(lease.key);
        this.#ears.tell(lease.key);
      } else {
        const done: LockRecord = { ...stored, state: 'done', expiresAt: Date.now() + lease.keepFor };
        await this.#write(lease.key, formatRecord(done), lease.keepFor);
      }
      return true;
    });
  }

  async inspect(keys: readonly string[]): Promise<(Holder | undefined)[]> {
    return Promise.all(
      keys.map(async key => {
        const stored = await this.#read(key);
        return stored === 'foreign' ? foreignHolder(key) : stored && holderOf(key, stored, Date.now());
      }),
    );
  }

  evict(keys: readonly string[]): Promise<(boolean | Error)[]> {
    return this.#each(
      keys.map(key => ({ key })),
      async ({ key }) => {
        const stored = await this.#read(key);
        if (stored === 'foreign' || !stored) return false;
        await this.#delete(key);
        this.#ears.tell(key);
        return true;
      },
    );
  }

  /** Tells what is let go of by this process. */
  watch(key: string, tell: () => void): Watch {
    return this.#ears.open(key, tell);
  }

  announce(arrivals: readonly Arrival[]): Promise<(Newest | Error)[]> {
    return this.#each(arrivals, async arrival => {
      const now = Date.now();
      const { newest, record } = outdo(arrival, await this.#readNewest(arrival.key, now), now);
      await this.#keep(arrival.key, JSON.stringify({ newest: 1, ...record }), record.expiresAt - now);
      return newest;
    });
  }

  async *#list(keys: () => Iterable<unknown>, prefix: string): AsyncIterable<Holder> {
    for (const key of [...keys()]) {
      if (typeof key !== 'string' || !isLockName(key) || !key.startsWith(prefix)) continue;
      const [holder] = await this.inspect([key]);
      if (holder) yield holder;
    }
  }

  async #readNewest(key: string, now: number): Promise<NewestRecord | undefined> {
    const value = await this.#store.get(key);
    if (typeof value !== 'string' || !value.startsWith('{"newest":1,')) return undefined;
    const record: NewestRecord = JSON.parse(value);
    return record.expiresAt > now ? record : undefined;
  }

  async #claim(claim: Claim): Promise<Verdict> {
    const stored = await this.#read(claim.key);
    if (stored === 'foreign') return { taken: false, holder: foreignHolder(claim.key) };
    const now = Date.now();
    const fence = Math.max(now * 1000, this.#lastFence + 1, (stored?.fence ?? 0) + 1);
    const { verdict, record } = decide(claim, stored, now, fence);
    if (!record) return verdict;
    this.#lastFence = Math.max(this.#lastFence, record.fence);
    await this.#keep(claim.key, formatRecord(record), claim.ttl);
    return verdict;
  }

  /** The record under a key; `'foreign'` for a value that no lock wrote; `undefined` where there is none that lives. */
  async #read(key: string): Promise<LockRecord | 'foreign' | undefined> {
    const value = await this.#store.get(key);
    if (value === undefined || value === null) return undefined;
    const record = parseRecord(value);
    if (!record) return 'foreign';
    return record.expiresAt > Date.now() ? record : undefined;
  }

  async #write(key: string, value: string, lifetime: number): Promise<void> {
    await this.#store.set(key, value, expiryFor(this.#store, lifetime));
  }

  /** Reads back what it wrote: some stores report a failed write to nobody, and an outage must not pass for a lease. */
  async #keep(key: string, value: string, lifetime: number): Promise<void> {
    await this.#write(key, value, lifetime);
    if ((await this.#store.get(key)) !== value)
      throw new Error('the store did not keep what was written to it');
  }

  async #delete(key: string): Promise<void> {
    await (this.#store.delete ? this.#store.delete(key) : this.#store.del?.(key));
  }

  /** Takes one step for each, those on one key after one another. One's failure is not the others'. */
  #each<Of extends { readonly key: string }, Answer>(
    all: readonly Of[],
    step: (one: Of) => Promise<Answer>,
  ): Promise<(Answer | Error)[]> {
    return Promise.all(all.map(one => this.#after(one.key, () => step(one)).catch(asError)));
  }

  #after<Answer>(key: string, step: () => Promise<Answer>): Promise<Answer> {
    const before = this.#steps.get(key);
    const answer = before ? before.then(step, step) : step();
    this.#steps.set(key, answer);
    const forget = () => {
      if (this.#steps.get(key) === answer) this.#steps.delete(key);
    };
    answer.then(forget, forget);
    return answer;
  }
}

/**
 * The third argument of `set` means milliseconds to Keyv and cache-manager and an options object to lru-cache,
 * which throws on a number. The records carry their own expiry, so that a store without one is as good.
 */
function expiryFor(store: SimpleStore, lifetime: number): unknown {
  if (store instanceof Map) return undefined;
  return isLruCache(store) ? { ttl: lifetime } : lifetime;
}

function isLruCache(store: SimpleStore): boolean {
  return 'getRemainingTTL' in store && typeof store.getRemainingTTL === 'function';
}
