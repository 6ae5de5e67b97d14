/** Tests of fences: the numbers that rise from one acquisition of a key to the next. */

import assert from 'node:assert/strict';
import type { AcquireResult } from '../cache/contract.ts';
import {
  acquire,
  acquireStep,
  type DefineTest,
  inspect,
  newStoredKey,
  onlyAnswer,
  release,
  releaseStep,
  until,
} from './helpers.ts';

export function testFences(test: DefineTest): void {
  test(
    'fencing',
    'the fences of a key rise over acquisitions, expiries and reclaims',
    async ({ cache, other }) => {
      const storedKey = newStoredKey();
      const fences: number[] = [];
      for (let i = 0; i < 20; i++) {
        const ttl = i % 4 === 3 ? 10 : 60_000;
        const step = acquireStep({ storedKey, owner: `owner ${i >> 1}`, attempt: i, ttl });
        const instance = i % 3 ? cache : other;
        await until(async () => {
          const result = await acquire(instance, step);
          if (result.acquired) fences.push(result.fence);
          return result.acquired;
        });
        if (i % 4 === 1) await release(instance, step);
        // A lease that is left is reclaimed by the next run of its owner, or expires.
        if (i % 4 === 3) await until(async () => (await inspect(instance, storedKey)) === undefined);
      }

      assert.equal(fences.length, 20);
      assertRising(fences);
    },
  );

  test(
    'fencing',
    'the fences of a key rise (it is released and acquired in one batch)',
    async ({ cache }) => {
      const storedKey = newStoredKey();
      let held = acquireStep({ storedKey });
      const fences = [fenceOf(await acquire(cache, held))];
      for (let i = 0; i < 50; i++) {
        const next = acquireStep({ storedKey });
        const batch = { releases: [releaseStep(held)], renewals: [], acquisitions: [next] };
        if (cache.exchange) fences.push(fenceOf(onlyAnswer((await cache.exchange(batch)).acquired)));
        else {
          await release(cache, held);
          fences.push(fenceOf(await acquire(cache, next)));
        }
        held = next;
      }

      assertRising(fences);
    },
  );
}

function fenceOf(result: AcquireResult): number {
  assert(result.acquired, 'the key was not free');
  return result.fence;
}

function assertRising(fences: readonly number[]): void {
  for (const [i, fence] of fences.entries()) {
    assert(Number.isSafeInteger(fence), `${fence} is not a safe integer`);
    if (i > 0) assert(fence > (fences[i - 1] as number), `the fence went from ${fences[i - 1]} to ${fence}`);
  }
}
