/** Tests of reservations: a key that stays held for the next run of its owner. */

import assert from 'node:assert/strict';
import {
  acquire,
  acquireStep,
  assertIncludes,
  assertWithin,
  type DefineTest,
  inspect,
  release,
  renew,
  reserve,
  until,
} from './helpers.ts';

const LONG = { dueIn: 30_000, lastsFor: 600_000 };

export function testReserving(test: DefineTest): void {
  test(
    'reservations',
    'a reserved key is held, says when its owner is expected back, and is free to nobody else',
    async ({ cache, other }) => {
      const step = acquireStep({ owner: 'job 17', attempt: 1 });
      const first = await acquire(cache, step);

      assert.equal(await reserve(cache, step, LONG), true);

      const record = await inspect(other, step.storedKey);
      assertIncludes(record, { state: 'reserved', owner: 'job 17', attempt: 1 });
      assert.equal(record?.fence, first.acquired && first.fence);
      assertWithin(record?.dueIn, 10_000, 30_000, 'dueIn');
      assertWithin(record?.expiresIn, 500_000, 600_000, 'expiresIn');
      const byAnother = await acquire(other, acquireStep({ storedKey: step.storedKey }));
      assert(!byAnother.acquired);
      assertIncludes(byAnother.record, { state: 'reserved', owner: 'job 17' });
      assertWithin(byAnother.record.dueIn, 10_000, 30_000, 'dueIn of the refused');
    },
  );

  test(
    'reservations',
    'the next run of the owner acquires it, which is no reclaiming; an equal or older run does not',
    async ({ cache, other }) => {
      const step = acquireStep({ owner: 'job 17', attempt: 2 });
      const first = await acquire(cache, step);
      await reserve(cache, step, LONG);

      const again = (attempt: number) => acquireStep({ storedKey: step.storedKey, owner: 'job 17', attempt });
      for (const attempt of [1, 2]) assert.equal((await acquire(other, again(attempt))).acquired, false);
      const next = await acquire(other, again(3));

      assert(first.acquired && next.acquired);
      assert(next.fence > first.fence, 'the fence did not rise');
      assert.equal(next.reclaimed, false);
      const record = await inspect(cache, step.storedKey);
      assertIncludes(record, { state: 'running', attempt: 3 });
      assert.equal(record?.dueIn, undefined);
    },
  );

  test(
    'reservations',
    'a key that its run has reserved is not renewed, released, or reserved again by that run',
    async ({ cache }) => {
      const step = acquireStep();
      await acquire(cache, step);
      await reserve(cache, step, LONG);

      assert.equal(await renew(cache, step), false, 'it was renewed');
      assert.equal(await release(cache, step), false, 'it was released');
      assert.equal(await reserve(cache, step, LONG), false, 'it was reserved again');
      assert.equal((await inspect(cache, step.storedKey))?.state, 'reserved');
    },
  );

  test('reservations', 'only the holder reserves its key', async ({ cache, other }) => {
    const step = acquireStep();
    await acquire(cache, step);

    assert.equal(await reserve(other, acquireStep({ storedKey: step.storedKey }), LONG), false);
    assert.equal((await inspect(cache, step.storedKey))?.state, 'running');
  });

  test('reservations', 'a reservation ends when it has lasted its time', async ({ cache, other }) => {
    const step = acquireStep();
    await acquire(cache, step);
    await reserve(cache, step, { dueIn: 0, lastsFor: 40 });

    await until(async () => (await acquire(other, acquireStep({ storedKey: step.storedKey }))).acquired);
  });
}
