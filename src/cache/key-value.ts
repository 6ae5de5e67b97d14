/**
 * Keeps locks in any store that has `get`, `set` and `delete` (or `del`): a `Map`, a Keyv, a cache-manager cache, an
 * lru-cache, a class of the user's own.
 *
 * Such a store can't decide atomically. Within one process the steps on a key run one after another, so all guarantees
 * hold there. Between processes that share the store, exclusion does not hold.
 */

import { asError } from '../core/errors.ts';
import { isLockName } from '../key/stored-name.ts';
import type {
  AcquireResult,
  AcquireStep,
  Arrival,
  ForceReleaseStep,
  Listener,
  LockCache,
  LockRecord,
  Newest,
  ReleaseStep,
  RenewStep,
} from './contract.ts';
import {
  decideAcquire,
  decideRelease,
  endsByForce,
  foreignRecord,
  formatStored,
  isHeldBy,
  parseStored,
  recordOf,
  type StoredLock,
} from './lock-rules.ts';
import { decideNewest, type StoredNewest } from './newest-rules.ts';
import { Listeners } from './notify/listeners.ts';

/** A store with the verbs that nearly every cache has. Each may answer at once or with a promise. */
export interface KeyValueStore {
  get(key: string): unknown;
  set(key: string, value: any, expiry?: any): unknown;
  delete?(key: string): unknown;
  del?(key: string): unknown;
}

export class KeyValueCache implements LockCache {
  readonly #store: KeyValueStore;
  /** The last step on each key that has one under way. */
  readonly #lastSteps = new Map<string, Promise<unknown>>();
  readonly #listeners = new Listeners();
  #lastFence = 0;
  /** Present only where the store can list its keys, as a `Map` and an lru-cache can. */
  readonly list?: (prefix: string) => AsyncIterable<LockRecord>;

  constructor(store: KeyValueStore) {
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

  acquire(steps: readonly AcquireStep[]): Promise<(AcquireResult | Error)[]> {
    return this.#each(steps, step => this.#acquire(step));
  }

  renew(steps: readonly RenewStep[]): Promise<(boolean | Error)[]> {
    return this.#each(steps, async step => {
      const stored = await this.#read(step.storedKey);
      if (!stored || stored === 'foreign' || !isHeldBy(step, stored)) return false;
      const renewed = { ...stored, expiresAt: Date.now() + step.ttl };
      await this.#write(step.storedKey, formatStored(renewed), step.ttl);
      return true;
    });
  }

  release(steps: readonly ReleaseStep[]): Promise<(boolean | Error)[]> {
    return this.#each(steps, async step => {
      const stored = await this.#read(step.storedKey);
      if (!stored || stored === 'foreign' || !isHeldBy(step, stored)) return false;
      const now = Date.now();
      const kept = decideRelease(step, stored, now);
      if (kept) await this.#write(step.storedKey, formatStored(kept), kept.expiresAt - now);
      else await this.#free(step.storedKey);
      return true;
    });
  }

  async inspect(storedKeys: readonly string[]): Promise<(LockRecord | undefined)[]> {
    return Promise.all(
      storedKeys.map(async storedKey => {
        const stored = await this.#read(storedKey);
        if (stored === 'foreign') return foreignRecord(storedKey);
        return stored && recordOf(storedKey, stored, Date.now());
      }),
    );
  }

  forceRelease(steps: readonly ForceReleaseStep[]): Promise<(boolean | Error)[]> {
    return this.#each(steps, async step => {
      const stored = await this.#read(step.storedKey);
      if (stored === 'foreign' || !endsByForce(step, stored)) return false;
      await this.#free(step.storedKey);
      return true;
    });
  }

  /** Notifies of what this process releases. */
  listen(storedKey: string, onRelease: () => void): Listener {
    return this.#listeners.add(storedKey, onRelease);
  }

  announce(arrivals: readonly Arrival[]): Promise<(Newest | Error)[]> {
    return this.#each(arrivals, async arrival => {
      const now = Date.now();
      const known = await this.#readNewest(arrival.storedKey, now);
      const { newest, stored } = decideNewest(arrival, known, now);
      await this.#write(arrival.storedKey, JSON.stringify({ newest: 1, ...stored }), stored.expiresAt - now);
      return newest;
    });
  }

  async *#list(keys: () => Iterable<unknown>, prefix: string): AsyncIterable<LockRecord> {
    for (const storedKey of [...keys()]) {
      if (typeof storedKey !== 'string' || !isLockName(storedKey) || !storedKey.startsWith(prefix)) continue;
      const [record] = await this.inspect([storedKey]);
      if (record) yield record;
    }
  }

  async #readNewest(storedKey: string, now: number): Promise<StoredNewest | undefined> {
    const value = await this.#store.get(storedKey);
    if (typeof value !== 'string' || !value.startsWith('{"newest":1,')) return undefined;
    const stored: StoredNewest = JSON.parse(value);
    return stored.expiresAt > now ? stored : undefined;
  }

  async #acquire(step: AcquireStep): Promise<AcquireResult> {
    const known = await this.#read(step.storedKey);
    if (known === 'foreign') return { acquired: false, record: foreignRecord(step.storedKey) };
    const now = Date.now();
    const fence = Math.max(now * 1000, this.#lastFence + 1, (known?.fence ?? 0) + 1);
    const { result, stored } = decideAcquire(step, known, now, fence);
    if (!stored) return result;
    this.#lastFence = Math.max(this.#lastFence, stored.fence);
    await this.#write(step.storedKey, formatStored(stored), step.ttl);
    return result;
  }

  /** What a lock has stored; `'foreign'` for a value that no lock wrote; `undefined` for none, or one that has expired. */
  async #read(storedKey: string): Promise<StoredLock | 'foreign' | undefined> {
    const value = await this.#store.get(storedKey);
    if (value === undefined || value === null) return undefined;
    const stored = parseStored(value);
    if (!stored) return 'foreign';
    return stored.expiresAt > Date.now() ? stored : undefined;
  }

  /** Some stores report a failed write to nobody. An outage must not look like a lease, so what was written is read back. */
  async #write(storedKey: string, value: string, lifetime: number): Promise<void> {
    const writtenAt = performance.now();
    await this.#store.set(storedKey, value, expiryArgument(this.#store, lifetime));
    if ((await this.#store.get(storedKey)) === value) return;
    // What has expired since is gone as it should be.
    if (performance.now() - writtenAt >= lifetime) return;
    throw new Error('the store did not keep what was written to it');
  }

  async #free(storedKey: string): Promise<void> {
    await (this.#store.delete ? this.#store.delete(storedKey) : this.#store.del?.(storedKey));
    this.#listeners.notify(storedKey);
  }

  /** Does one step for each. Steps on one key run one after another. One's failure is not the others'. */
  #each<Step extends { readonly storedKey: string }, Answer>(
    steps: readonly Step[],
    run: (step: Step) => Promise<Answer>,
  ): Promise<(Answer | Error)[]> {
    return Promise.all(steps.map(step => this.#inTurn(step.storedKey, () => run(step)).catch(asError)));
  }

  #inTurn<Answer>(storedKey: string, run: () => Promise<Answer>): Promise<Answer> {
    const before = this.#lastSteps.get(storedKey);
    const answer = before ? before.then(run, run) : run();
    this.#lastSteps.set(storedKey, answer);
    const forget = () => {
      if (this.#lastSteps.get(storedKey) === answer) this.#lastSteps.delete(storedKey);
    };
    answer.then(forget, forget);
    return answer;
  }
}

/**
 * The third argument of `set`: milliseconds for Keyv and cache-manager, an options object for lru-cache, which throws on a
 * number. The records carry their own expiry, so a store without one is as good.
 */
function expiryArgument(store: KeyValueStore, lifetime: number): unknown {
  if (store instanceof Map) return undefined;
  return isLruCache(store) ? { ttl: lifetime } : lifetime;
}

function isLruCache(store: KeyValueStore): boolean {
  return 'getRemainingTTL' in store && typeof store.getRemainingTTL === 'function';
}
