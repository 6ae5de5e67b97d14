/**
 * Keeps locks in the memory of this process. Keeps all guarantees among those who share the instance, and knows nothing of
 * other processes. Expired records are removed as new ones come; there is no timer.
 */

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
  isHeldBy,
  recordOf,
  type StoredLock,
} from './lock-rules.ts';
import { decideNewest, type StoredNewest } from './newest-rules.ts';
import { Listeners } from './notify/listeners.ts';

/** Expired records are swept when there are this many, and then whenever those that live have doubled. */
const MIN_SWEEP_SIZE = 1024;

/**
 * A cache for one process: tests, command-line tools, `once` without a datastore.
 *
 * @example
 * ```ts
 * const lock = new Lock('nightly-report', { cache: new MemoryCache() });
 * ```
 */
export class MemoryCache implements LockCache {
  readonly #locks = new Map<string, StoredLock>();
  readonly #newest = new Map<string, StoredNewest>();
  readonly #listeners = new Listeners();
  #lastFence = 0;
  #sweepAt = MIN_SWEEP_SIZE;

  async acquire(steps: readonly AcquireStep[]): Promise<AcquireResult[]> {
    return steps.map(step => this.#acquire(step));
  }

  async renew(steps: readonly RenewStep[]): Promise<boolean[]> {
    return steps.map(step => {
      const stored = this.#live(step.storedKey);
      if (!stored || !isHeldBy(step, stored)) return false;
      this.#locks.set(step.storedKey, { ...stored, expiresAt: performance.now() + step.ttl });
      return true;
    });
  }

  async release(steps: readonly ReleaseStep[]): Promise<boolean[]> {
    return steps.map(step => {
      const stored = this.#live(step.storedKey);
      if (!stored || !isHeldBy(step, stored)) return false;
      const kept = decideRelease(step, stored, performance.now());
      if (kept) this.#locks.set(step.storedKey, kept);
      else this.#free(step.storedKey);
      return true;
    });
  }

  async inspect(storedKeys: readonly string[]): Promise<(LockRecord | undefined)[]> {
    return storedKeys.map(storedKey => {
      const stored = this.#live(storedKey);
      return stored && recordOf(storedKey, stored, performance.now());
    });
  }

  async *list(prefix: string): AsyncIterable<LockRecord> {
    for (const storedKey of [...this.#locks.keys()]) {
      if (!isLockName(storedKey) || !storedKey.startsWith(prefix)) continue;
      const [record] = await this.inspect([storedKey]);
      if (record) yield record;
    }
  }

  async forceRelease(steps: readonly ForceReleaseStep[]): Promise<boolean[]> {
    return steps.map(step => {
      if (!endsByForce(step, this.#live(step.storedKey))) return false;
      this.#free(step.storedKey);
      return true;
    });
  }

  listen(storedKey: string, onRelease: () => void): Listener {
    return this.#listeners.add(storedKey, onRelease);
  }

  async announce(arrivals: readonly Arrival[]): Promise<Newest[]> {
    return arrivals.map(arrival => {
      const now = performance.now();
      const known = this.#newest.get(arrival.storedKey);
      const { newest, stored } = decideNewest(
        arrival,
        known && known.expiresAt > now ? known : undefined,
        now,
      );
      this.#newest.set(arrival.storedKey, stored);
      this.#sweepWhenFull();
      return newest;
    });
  }

  #acquire(step: AcquireStep): AcquireResult {
    const fence = Math.max(Date.now() * 1000, this.#lastFence + 1);
    const { result, stored } = decideAcquire(step, this.#live(step.storedKey), performance.now(), fence);
    if (!stored) return result;
    this.#lastFence = Math.max(this.#lastFence, stored.fence);
    this.#locks.set(step.storedKey, stored);
    this.#sweepWhenFull();
    return result;
  }

  #free(storedKey: string): void {
    this.#locks.delete(storedKey);
    this.#listeners.notify(storedKey);
  }

  #live(storedKey: string): StoredLock | undefined {
    const stored = this.#locks.get(storedKey);
    return stored && stored.expiresAt > performance.now() ? stored : undefined;
  }

  #sweepWhenFull(): void {
    if (this.#locks.size + this.#newest.size < this.#sweepAt) return;
    const now = performance.now();
    for (const records of [this.#locks, this.#newest]) {
      for (const [storedKey, { expiresAt }] of records) if (expiresAt <= now) records.delete(storedKey);
    }
    this.#sweepAt = Math.max(MIN_SWEEP_SIZE, (this.#locks.size + this.#newest.size) * 2);
  }
}
