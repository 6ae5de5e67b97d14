/**
 * Keeps locks in any store that has `get`, `set` and `delete` (or `del`): a `Map`, a Keyv, a cache-manager cache, an
 * lru-cache, a class of the user's own.
 *
 * Such a store can't decide atomically. Within one process the steps on a key run one after another, so all guarantees
 * hold there. Between processes that share the store, exclusion does not hold.
 */

import { asError } from '../core/errors.ts';
import { queueMicrotask } from '../core/timers.ts';
import { lineName, resultName } from '../key/line-name.ts';
import { isLockName } from '../key/stored-name.ts';
import type {
  AcquireResult,
  AcquireStep,
  EnterResult,
  EnterStep,
  ForceReleaseStep,
  LeaveResult,
  LeaveStep,
  LineQuery,
  LineRecord,
  Listener,
  LockCache,
  LockRecord,
  ReleaseStep,
  RenewStep,
} from './contract.ts';
import {
  decideEnter,
  decideLeave,
  describeLine,
  type Kept,
  keepResult,
  LINE_LASTS_MS,
  type StoredKey,
  withoutParked,
} from './line-rules.ts';
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
import { Listeners } from './notify/listeners.ts';

/** A store with the verbs that nearly every cache has. Each may answer at once or with a promise. */
export interface KeyValueStore {
  get(key: string): unknown;
  set(key: string, value: any, expiry?: any): unknown;
  delete?(key: string): unknown;
  del?(key: string): unknown;
}

/** What is stored of a key beside its first holder. */
interface StoredLine extends Pick<StoredKey, 'parked' | 'lastRun'> {
  readonly others: readonly StoredLock[];
}

/** All that is stored of a key, as it was read. */
interface KeyAsRead extends StoredKey {
  /** What is stored under the key's own name. */
  readonly first: StoredLock | undefined;
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
      if (stored === 'foreign') return false;
      if (!stored || !isHeldBy(step, stored)) return this.#renewOther(step);
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
      if (step.result) {
        const before = { parked: [], kept: await this.#readResult(step.storedKey) };
        await this.#writeResult(step.storedKey, before.kept, keepResult(step, before, now).kept);
      }
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
      const key = await this.#readKey(step.storedKey);
      if (key === 'foreign') return false;
      const places = key.places.filter(place => !endsByForce(step, place));
      if (places.length === key.places.length) return false;
      await this.#writeKey(step.storedKey, key, { ...key, places, lastRun: undefined });
      await this.#delete(resultName(step.storedKey));
      return true;
    });
  }

  /** Notifies of what this process releases. */
  listen(storedKey: string, onRelease: () => void): Listener {
    // The key may have been released before.
    queueMicrotask(onRelease);
    return this.#listeners.add(storedKey, onRelease);
  }

  enter(steps: readonly EnterStep[]): Promise<(EnterResult | Error)[]> {
    return this.#each(steps, async step => {
      const { storedKey } = step;
      const key = await this.#readKey(storedKey, { withResult: step.line === 'together' });
      if (key === 'foreign') return { acquired: false, record: foreignRecord(storedKey) };
      const now = Date.now();
      const fence = Math.max(now * 1000, this.#lastFence + 1, ...key.places.map(({ fence }) => fence + 1));
      const { result, stored } = decideEnter(step, key, { now, wall: now }, fence);
      if (result.acquired) this.#lastFence = Math.max(this.#lastFence, result.fence);
      if (stored !== key) await this.#writeKey(storedKey, key, stored);
      const hasJoined = !result.acquired && stored !== key;
      if (hasJoined && step.interrupts) this.#listeners.notify(storedKey);
      return result;
    });
  }

  leave(steps: readonly LeaveStep[]): Promise<(LeaveResult | Error)[]> {
    return this.#each(steps, async step => {
      const withResult = step.line === 'together' || step.result !== undefined;
      const key = await this.#readKey(step.storedKey, { withResult });
      if (key === 'foreign') return { released: false };
      const now = Date.now();
      const { result, stored } = decideLeave(step, key, { now, wall: now });
      if (stored !== key) await this.#writeKey(step.storedKey, key, stored);
      if (result.answered) this.#listeners.notify(step.storedKey);
      return result;
    });
  }

  results(storedKeys: readonly string[]): Promise<(string | undefined | Error)[]> {
    const steps = storedKeys.map(storedKey => ({ storedKey }));
    return this.#each(steps, async ({ storedKey }) => (await this.#readResult(storedKey))?.text);
  }

  lines(queries: readonly LineQuery[]): Promise<(LineRecord | Error)[]> {
    return this.#each(queries, async query => {
      const key = await this.#readKey(query.storedKey);
      return key === 'foreign' ? { held: 1, parked: 0, holds: false } : describeLine(query, key);
    });
  }

  strikeOut(steps: readonly LineQuery[]): Promise<(boolean | Error)[]> {
    return this.#each(steps, async ({ storedKey, owner }) => {
      const key = await this.#readKey(storedKey);
      if (key === 'foreign') return false;
      const stored = withoutParked(key, owner);
      if (stored !== key) await this.#writeKey(storedKey, key, stored);
      return stored !== key;
    });
  }

  async *#list(keys: () => Iterable<unknown>, prefix: string): AsyncIterable<LockRecord> {
    for (const storedKey of [...keys()]) {
      if (typeof storedKey !== 'string' || !isLockName(storedKey) || !storedKey.startsWith(prefix)) continue;
      const key = await this.#readKey(storedKey);
      if (key === 'foreign') yield foreignRecord(storedKey);
      else for (const place of key.places) yield recordOf(storedKey, place, Date.now());
    }
  }

  /** All that is stored of a key: its first holder under its own name, the others with its line. */
  async #readKey(
    storedKey: string,
    { withResult = false }: { withResult?: boolean } = {},
  ): Promise<KeyAsRead | 'foreign'> {
    const first = await this.#read(storedKey);
    if (first === 'foreign') return first;
    const { others = [], parked = [], lastRun } = await this.#readLine(storedKey);
    const now = Date.now();
    const isRemembered = lastRun && lastRun.expiresAt > now;
    const places = [...(first ? [first] : []), ...others.filter(({ expiresAt }) => expiresAt > now)];
    const kept = withResult ? await this.#readResult(storedKey) : undefined;
    return { first, places, parked, lastRun: isRemembered ? lastRun : undefined, kept };
  }

  async #readResult(storedKey: string): Promise<Kept | undefined> {
    const value = await this.#store.get(resultName(storedKey));
    if (typeof value !== 'string' || !value.startsWith('{"result":1,')) return undefined;
    const kept: Kept = JSON.parse(value);
    return kept.expiresAt > Date.now() ? kept : undefined;
  }

  async #writeResult(storedKey: string, old: Kept | undefined, kept: Kept | undefined): Promise<void> {
    if (kept === old) return;
    const name = resultName(storedKey);
    if (!kept) return this.#delete(name);
    await this.#write(name, JSON.stringify({ result: 1, ...kept }), kept.expiresAt - Date.now());
  }

  async #readLine(storedKey: string): Promise<Partial<StoredLine>> {
    const value = await this.#store.get(lineName(storedKey));
    return typeof value === 'string' && value.startsWith('{"line":1,') ? JSON.parse(value) : {};
  }

  async #writeKey(
    storedKey: string,
    old: KeyAsRead,
    { places, parked, lastRun, kept }: StoredKey,
  ): Promise<void> {
    const now = Date.now();
    await this.#writeResult(storedKey, old.kept, kept);
    const [first, ...others] = places;
    if (first && first !== old.first) {
      await this.#write(storedKey, formatStored(first), first.expiresAt - now);
    }
    const isEmpty = others.length + parked.length === 0 && !lastRun;
    const line = JSON.stringify({ line: 1, others, parked, lastRun });
    if (!isEmpty) await this.#write(lineName(storedKey), line, LINE_LASTS_MS);
    else if ((await this.#store.get(lineName(storedKey))) !== undefined)
      await this.#delete(lineName(storedKey));
    if (!first && old.first) await this.#delete(storedKey);
    if (places.length < old.places.length) this.#listeners.notify(storedKey);
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

  /** Renews a lease of a key with several places that is not the first. */
  async #renewOther(step: RenewStep): Promise<boolean> {
    const key = await this.#readKey(step.storedKey);
    if (key === 'foreign') return false;
    const own = key.places.find(place => isHeldBy(step, place));
    if (!own) return false;
    const places = key.places.map(one => (one === own ? { ...own, expiresAt: Date.now() + step.ttl } : one));
    await this.#writeKey(step.storedKey, key, { ...key, places });
    return true;
  }

  async #free(storedKey: string): Promise<void> {
    await this.#delete(storedKey);
    this.#listeners.notify(storedKey);
  }

  async #delete(storedKey: string): Promise<void> {
    await (this.#store.delete ? this.#store.delete(storedKey) : this.#store.del?.(storedKey));
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
