/** Tests of releasing: who may release a key, and how long it stays held as done. */

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
  until,
} from './helpers.ts';

export function testReleasing(test: DefineTest): void {
  test(
    'onlyTheHolder',
    'a release by a step that never acquired the key is refused',
    async ({ cache, other }) => {
      const step = acquireStep();
      await acquire(cache, step);

      assert.equal(await release(other, acquireStep({ storedKey: step.storedKey })), false);
      assert.equal((await inspect(cache, step.storedKey))?.owner, step.owner);
    },
  );

  test('onlyTheHolder', 'a release that is repeated is answered with false', async ({ cache }) => {
    const step = acquireStep();
    await acquire(cache, step);
    await release(cache, step);

    assert.equal(await release(cache, step), false);
  });

  test(
    'dedupeWindow',
    'a key that is released with dedupeFor stays held as done, for everyone and for its own owner',
    async ({ cache, other }) => {
      const step = acquireStep({ owner: 'job 17', attempt: 1 });
      const { storedKey } = step;
      const first = await acquire(cache, step);

      assert.equal(await release(cache, step, 60_000), true);

      const byAnother = await acquire(other, acquireStep({ storedKey }));
      const byItsOwner = await acquire(other, acquireStep({ storedKey, owner: 'job 17', attempt: 2 }));
      for (const result of [byAnother, byItsOwner]) {
        assert(!result.acquired);
        const fence = first.acquired && first.fence;
        assertIncludes(result.record, { state: 'done', owner: 'job 17', fence });
        assertWithin(result.record.expiresIn, 30_000, 60_000, 'expiresIn');
      }
      assert.equal(await renew(cache, step), false, 'it was renewed');
      assert.equal(await release(cache, step), false, 'it was released again');
    },
  );

  test('dedupeWindow', 'a key becomes free when its dedupeFor is over', async ({ cache, other }) => {
    const step = acquireStep();
    await acquire(cache, step);
    await release(cache, step, 40);

    await until(async () => (await acquire(other, acquireStep({ storedKey: step.storedKey }))).acquired);
  });
}
