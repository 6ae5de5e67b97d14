/** Tests of keys: which characters they may have, and how long they may be. */

import assert from 'node:assert/strict';
import { acquireStep, type DefineTest, isAcquired, newStoredKey, releaseStep } from './helpers.ts';

export function testKeys(test: DefineTest): void {
  test('anyKey', 'keys of any characters and any length are kept apart', async ({ cache, other }) => {
    const base = newStoredKey();
    const steps = ODD_ENDS.map(end => acquireStep({ storedKey: base + end, owner: `owner of ${end}` }));

    const results = await cache.acquire(steps);

    assert(results.every(isAcquired), 'two keys were the same to the cache');
    const records = await other.inspect(steps.map(({ storedKey }) => storedKey));
    assert.deepEqual(
      records.map(record => record?.owner),
      steps.map(({ owner }) => owner),
    );
    assert.deepEqual(
      records.map(record => record?.storedKey),
      steps.map(({ storedKey }) => storedKey),
    );
    assert(steps.every(({ storedKey }, i) => results[i] && storedKey === base + ODD_ENDS[i]));
    const released = await other.release(steps.map(step => releaseStep(step)));
    assert(
      released.every(answer => answer === true),
      'not all were released',
    );
  });
}

/** What keys may end in. */
// biome-ignore format: a line a kind
const ODD_ENDS = [
  '', ' ', ':', '::', '{}', '{a}', '*', '?', '\n', '\r\n', '\u0000', '\u0001', 'é', 'e\u0301', '😀',
  '"', "'", '\\', '\\0', '\\\\0', '\\\u0000', '%', '%00', '$1', '--', '{"once":1}', '[]',
  'x'.repeat(10_000), `${'x'.repeat(9_999)}y`, '😀'.repeat(1000), `a${'😀'.repeat(1000)}`,
];
