/** Tests of batches: each step has its own answer, in order. */

import assert from 'node:assert/strict';
import {
  acquire,
  acquireStep,
  assertWithin,
  type DefineTest,
  inspect,
  isAcquired,
  releaseStep,
  renewStep,
} from './helpers.ts';

export function testBatches(test: DefineTest): void {
  test('batches', 'a batch is answered step by step, in order', async ({ cache, other }) => {
    const held = acquireStep();
    await acquire(other, held);
    const a = acquireStep();
    const b = acquireStep({ storedKey: held.storedKey });
    const c = acquireStep();
    const secondOfA = acquireStep({ storedKey: a.storedKey });

    const results = await cache.acquire([a, b, c, secondOfA]);
    const renewed = await cache.renew([a, b, c].map(renewStep));
    const released = await cache.release([c, b, a].map(step => releaseStep(step)));

    assert.deepEqual(results.map(isAcquired), [true, false, true, false]);
    assert.deepEqual(renewed, [true, false, true]);
    assert.deepEqual(released, [true, false, true]);
    assert.equal((await inspect(cache, held.storedKey))?.owner, held.owner);
  });

  test(
    'batches',
    'a batch of all three verbs releases first, then renews, then acquires',
    async ({ cache }) => {
      const [a, b, c] = [acquireStep({ ttl: 1000 }), acquireStep({ ttl: 1000 }), acquireStep()];
      await cache.acquire([a, b, c]);
      if (!cache.exchange) return;

      const { released, renewed, acquired } = await cache.exchange({
        releases: [releaseStep(a), releaseStep(c, 60_000)],
        renewals: [renewStep({ ...a, ttl: 60_000 }), renewStep({ ...b, ttl: 60_000 })],
        acquisitions: [
          acquireStep({ storedKey: a.storedKey, owner: 'next' }),
          acquireStep({ storedKey: b.storedKey }),
          acquireStep({ storedKey: c.storedKey }),
        ],
      });

      assert.deepEqual(released, [true, true]);
      assert.deepEqual(renewed, [false, true]);
      assert.deepEqual(acquired.map(isAcquired), [true, false, false]);
      assert.equal((await inspect(cache, a.storedKey))?.owner, 'next');
      assertWithin((await inspect(cache, b.storedKey))?.expiresIn, 30_000, 60_000, 'expiresIn');
      assert.equal((await inspect(cache, c.storedKey))?.state, 'done');
    },
  );

  test('batches', 'an empty batch has no answers', async ({ cache }) => {
    assert.deepEqual(await cache.acquire([]), []);
    assert.deepEqual(await cache.renew([]), []);
    assert.deepEqual(await cache.release([]), []);
    assert.deepEqual(await cache.inspect([]), []);
  });

  test('batches', 'a large batch is answered (a thousand steps)', async ({ cache }) => {
    const steps = Array.from({ length: 1000 }, () => acquireStep());

    const results = await cache.acquire(steps);
    const renewed = await cache.renew(steps.map(renewStep));
    const records = await cache.inspect(steps.map(({ storedKey }) => storedKey));
    const released = await cache.release(steps.map(step => releaseStep(step)));

    assert(results.every(isAcquired), 'not all were acquired');
    assert.deepEqual(
      renewed.filter(answer => answer !== true),
      [],
    );
    assert.deepEqual(
      records.map(record => record?.owner),
      steps.map(({ owner }) => owner),
    );
    assert.deepEqual(
      released.filter(answer => answer !== true),
      [],
    );
  });
}
