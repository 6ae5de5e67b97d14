/** Tests of rivals: many that acquire the same keys at once. */

import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { AcquireResult, LockCache } from '../cache/contract.ts';
import {
  acquire,
  acquireStep,
  type DefineTest,
  isAcquired,
  newStoredKey,
  release,
  releaseStep,
  TEST_TIMEOUT_MS,
  until,
} from './helpers.ts';

export function testRivals(test: DefineTest): void {
  test(
    'exclusion',
    'rivals hold a key one at a time, so that no update is lost (one of them stops while it holds the key)',
    async ({ cache }) => {
      assert.deepEqual(await countUnderLock([cache], 100), [100, 100]);
    },
  );

  test(
    'acrossInstances',
    'rivals of two instances hold a key one at a time (one of them stops while it holds the key)',
    async ({ cache, other }) => {
      assert.deepEqual(await countUnderLock([cache, other], 100), [100, 100]);
    },
  );

  test(
    'acrossInstances',
    'rivals that acquire many keys at once, each in another order, all get their answers',
    async ({ cache, other }) => {
      const storedKeys = Array.from({ length: 50 }, newStoredKey);

      const counts = await Promise.all(
        Array.from({ length: 20 }, async (_, i) => {
          const instance = i % 2 ? cache : other;
          const order = i % 3 ? storedKeys : [...storedKeys].reverse();
          const steps = order.map(storedKey => acquireStep({ storedKey, owner: `rival ${i}` }));
          const results = await instance.acquire(steps);
          const error = results.find(result => result instanceof Error);
          assert(!error, String(error));
          const acquired = steps.filter((_, at) => isAcquired(results[at] as AcquireResult));
          await instance.release(acquired.map(step => releaseStep(step)));
          return acquired.length;
        }),
      );

      const acquisitions = counts.reduce((sum, count) => sum + count, 0);
      assert(acquisitions >= storedKeys.length, 'nobody acquired one of the keys');
      assert.deepEqual(
        await cache.inspect(storedKeys),
        storedKeys.map(() => undefined),
      );
    },
  );
}

/**
 * Eight rivals count under a lock.
 * @param times - how often they count together, on each of two keys.
 * @returns how far they came on each key: less than `times` if two of them ever held a key at once.
 */
async function countUnderLock(caches: readonly LockCache[], times: number): Promise<number[]> {
  const storedKeys = [newStoredKey(), newStoredKey()];
  const counters = new Map(storedKeys.map(storedKey => [storedKey, 0]));
  const turnsLeft = new Map(storedKeys.map(storedKey => [storedKey, times]));
  const rivals = Array.from({ length: 8 }, (_, i) => caches[i % caches.length] as LockCache);
  async function count(cache: LockCache): Promise<void> {
    for (const storedKey of storedKeys) {
      while ((turnsLeft.get(storedKey) as number) > 0) {
        turnsLeft.set(storedKey, (turnsLeft.get(storedKey) as number) - 1);
        const step = acquireStep({ storedKey });
        await until(async () => (await acquire(cache, step)).acquired, TEST_TIMEOUT_MS);
        const read = counters.get(storedKey) as number;
        await delay(0);
        counters.set(storedKey, read + 1);
        await release(cache, step);
      }
    }
  }

  // One stops while it holds a key: its lease expires, and the others still finish.
  await acquire(caches[0] as LockCache, acquireStep({ storedKey: storedKeys[0] as string, ttl: 100 }));
  await Promise.all(rivals.map(count));
  return [...counters.values()];
}
