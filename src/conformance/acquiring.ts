/** Tests of acquiring: who gets a key, and who reclaims it. */

import assert from 'node:assert/strict';
import {
  acquire,
  acquireStep,
  assertIncludes,
  assertWithin,
  type DefineTest,
  inspect,
  newStoredKey,
  release,
  renew,
} from './helpers.ts';

export function testAcquiring(test: DefineTest): void {
  test('exclusion', 'a free key is acquired and stays held until it is released', async ({ cache }) => {
    const step = acquireStep();

    const result = await acquire(cache, step);
    const whileHeld = await inspect(cache, step.storedKey);
    const released = await release(cache, step);

    assert(result.acquired);
    assert.equal(result.reclaimed, false);
    assertIncludes(whileHeld, { state: 'running', owner: step.owner, storedKey: step.storedKey });
    assert.equal(released, true);
    assert.equal(await inspect(cache, step.storedKey), undefined);
  });

  test(
    'exclusion',
    'an acquisition of a held key is refused, and the holder and its expiry stay as they are',
    async ({ cache, other }) => {
      const step = acquireStep({ ttl: 60_000 });
      const { storedKey, owner } = step;
      const granted = await acquire(cache, step);

      const refused = await acquire(other, acquireStep({ storedKey, ttl: 999_000 }));

      assert(granted.acquired);
      assert(!refused.acquired, 'a held key was acquired');
      const { record } = refused;
      assertIncludes(record, { storedKey, owner, state: 'running', fence: granted.fence });
      assertWithin(record.expiresIn, 1, 60_000, 'expiresIn');
      assertWithin(record.since - Date.now(), -30_000, 30_000, 'since');
      const stored = await inspect(cache, storedKey);
      assert.equal(stored?.owner, owner);
      assertWithin(stored?.expiresIn, 0, 60_000, 'expiresIn');
    },
  );

  test('exclusion', 'an acquisition does not affect other keys', async ({ cache }) => {
    const [one, another] = [acquireStep(), acquireStep()];
    await acquire(cache, one);

    const result = await acquire(cache, another);
    await release(cache, another);

    assert.equal(result.acquired, true);
    assert.equal((await inspect(cache, one.storedKey))?.owner, one.owner);
  });

  test(
    'exclusion',
    'a key can be acquired and released ten times in a row, and is refused in between',
    async ({ cache, other }) => {
      const storedKey = newStoredKey();
      for (let i = 0; i < 10; i++) {
        const step = acquireStep({ storedKey });
        assert.equal((await acquire(cache, step)).acquired, true);
        assert.equal((await acquire(other, acquireStep({ storedKey }))).acquired, false);
        assert.equal(await release(cache, step), true);
      }
    },
  );

  test(
    'exclusion',
    'a step that is sent again with the same token is granted again as it was',
    async ({ cache }) => {
      const step = acquireStep();
      const first = await acquire(cache, step);

      const again = await acquire(cache, step);

      assert.deepEqual(again, first);
    },
  );

  test(
    'reclaim',
    'a newer run of the owner reclaims the lease with a higher fence, and the older run can neither renew nor release it',
    async ({ cache, other }) => {
      const older = acquireStep({ owner: 'job 17', attempt: 1 });
      const first = await acquire(cache, older);
      const newer = acquireStep({ storedKey: older.storedKey, owner: 'job 17', attempt: 2 });

      const second = await acquire(other, newer);

      assert(first.acquired && second.acquired);
      assert.equal(second.reclaimed, true);
      assert(second.fence > first.fence, `the fence went from ${first.fence} to ${second.fence}`);
      assert.equal(await renew(cache, older), false, 'the older run renewed the lease');
      assert.equal(await release(cache, older), false, 'the older run released the key');
      assert.equal(await release(other, newer), true, 'the newer run could not release the key');
    },
  );

  test(
    'reclaim',
    'an older run of the owner does not reclaim the lease of a newer run',
    async ({ cache, other }) => {
      const newer = acquireStep({ owner: 'job 17', attempt: 2 });
      await acquire(cache, newer);
      const older = acquireStep({ storedKey: newer.storedKey, owner: 'job 17', attempt: 1 });

      const result = await acquire(other, older);

      assert(!result.acquired);
      assertIncludes(result.record, { owner: 'job 17', attempt: 2 });
    },
  );

  test(
    'reclaim',
    'a run of the owner does not reclaim the lease of a run with the same number',
    async ({ cache, other }) => {
      const first = acquireStep({ owner: 'job 17', attempt: 1 });
      await acquire(cache, first);
      const sameNumber = acquireStep({ storedKey: first.storedKey, owner: 'job 17', attempt: 1 });

      const result = await acquire(other, sameNumber);

      assert(!result.acquired);
      assert.equal(await renew(cache, first), true);
    },
  );

  test('reclaim', 'an owner reclaims its own lease (its runs are not counted)', async ({ cache, other }) => {
    const first = acquireStep({ owner: 'importer', attempt: 0 });
    await acquire(cache, first);

    const result = await acquire(other, acquireStep({ storedKey: first.storedKey, owner: 'importer' }));

    assert(result.acquired);
    assert.equal(result.reclaimed, true);
  });

  test(
    'reclaim',
    'an owner does not reclaim the lease of another (one whose name, as it is stored, contains its own)',
    async ({ cache, other }) => {
      const { storedKey, ...held } = acquireStep({ owner: 'x","owner":"y' });
      await acquire(cache, { storedKey, ...held });

      const acquired = [];
      for (const owner of ['y', 'x', 'x","owner":"y"', '']) {
        acquired.push((await acquire(other, acquireStep({ storedKey, owner }))).acquired);
      }

      assert.deepEqual(acquired, [false, false, false, false]);
    },
  );
}
