/** Tests of foreign values: what something else stored under a key of the cache. */

import assert from 'node:assert/strict';
import { need } from './cache-under-test.ts';
import { acquire, acquireStep, assertIncludes, type DefineTest, inspect, release, renew } from './helpers.ts';

export function testForeignValues(test: DefineTest): void {
  test(
    'foreignValues',
    'a value that no lock wrote counts as held and is left alone',
    async ({ cache, created }) => {
      const step = acquireStep();
      const { storedKey } = step;
      need(created, 'foreign', 'foreignValues');
      await created.foreign(storedKey, 'not a lock');

      const result = await acquire(cache, step);

      assert(!result.acquired);
      assertIncludes(result.record, { state: 'foreign', storedKey, owner: '', fence: 0 });
      assert.equal(await renew(cache, step), false);
      assert.equal(await release(cache, step), false);
      assert.equal((await inspect(cache, storedKey))?.state, 'foreign');
    },
  );
}
