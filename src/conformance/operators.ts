/** Tests of what operators use: listing, and forced release. */

import assert from 'node:assert/strict';
import type { LockCache, LockRecord } from '../cache/contract.ts';
import {
  acquire,
  acquireStep,
  assertIncludes,
  type DefineTest,
  inspect,
  newStoredKey,
  onlyAnswer,
  release,
  renew,
} from './helpers.ts';

export function testOperators(test: DefineTest): void {
  test(
    'listing',
    'the list has the holders of all keys that begin with the prefix, and no others',
    async ({ cache, other }) => {
      const prefix = newPrefix();
      const held = Array.from({ length: 30 }, (_, i) =>
        acquireStep({ storedKey: `${prefix}${i}`, owner: `owner ${i}` }),
      );
      const others = [
        acquireStep({ storedKey: `${newPrefix()}1` }),
        acquireStep({ storedKey: `${prefix.slice(0, -2)}x1` }),
      ];
      const done = acquireStep({ storedKey: `${prefix}done` });
      const released = acquireStep({ storedKey: `${prefix}released` });
      for (const step of [...held, ...others, done, released]) await acquire(cache, step);
      await release(cache, done, 60_000);
      await release(cache, released);

      const records = await list(other, prefix);

      assert.deepEqual(
        records.map(({ storedKey }) => storedKey).sort(),
        [...held, done].map(({ storedKey }) => storedKey).sort(),
      );
      const recordOf = (storedKey: string) => records.find(record => record.storedKey === storedKey);
      for (const { storedKey, owner } of held) {
        assertIncludes(recordOf(storedKey), { owner, state: 'running' });
      }
      assertIncludes(recordOf(done.storedKey), { owner: done.owner, state: 'done' });
    },
  );

  test(
    'forcedRelease',
    'a forced release frees a key that is held or done, and its holder can neither renew nor release it',
    async ({ cache, other }) => {
      const held = acquireStep({ storedKey: `${newPrefix()}a` });
      const done = acquireStep({ storedKey: `${newPrefix()}b` });
      await acquire(cache, held);
      await acquire(cache, done);
      await release(cache, done, 60_000);

      const answers = [
        await forceRelease(other, held.storedKey),
        await forceRelease(other, held.storedKey),
        await forceRelease(other, done.storedKey),
      ];
      const next = await acquire(other, acquireStep({ storedKey: held.storedKey }));

      assert.deepEqual(answers, [true, false, true]);
      assert.equal(next.acquired, true);
      assert.equal(await renew(cache, held), false);
      assert.equal(await release(cache, held), false);
      assert.equal(await inspect(cache, done.storedKey), undefined);
    },
  );

  test(
    'forcedRelease',
    'a forced release of one acquisition leaves the next holder of the key alone',
    async ({ cache, other }) => {
      const first = acquireStep({ storedKey: `${newPrefix()}c` });
      const shown = await acquire(cache, first);
      await release(cache, first);
      const next = acquireStep({ storedKey: first.storedKey });
      const current = await acquire(cache, next);
      assert(shown.acquired && current.acquired);

      const answers = [
        await forceRelease(other, first.storedKey, shown.fence),
        await renew(cache, next),
        await forceRelease(other, first.storedKey, current.fence),
      ];

      assert.deepEqual(answers, [false, true, true]);
      assert.equal(await inspect(cache, first.storedKey), undefined);
    },
  );
}

/** A prefix of names of locks, with characters that mean something in a pattern. Its braces keep it on one server of a cluster. */
function newPrefix(): string {
  return `once::1:{${newStoredKey().replaceAll(':', '-')}}:*[?]\\`;
}

async function list(cache: LockCache, prefix: string): Promise<LockRecord[]> {
  assert(
    cache.list,
    "the cache has no method 'list'; a cache that can't have it declares guarantees: { listing: false }",
  );
  const records: LockRecord[] = [];
  for await (const record of cache.list(prefix)) records.push(record);
  return records;
}

async function forceRelease(cache: LockCache, storedKey: string, fence?: number): Promise<boolean> {
  assert(
    cache.forceRelease,
    "the cache has no method 'forceRelease'; a cache that can't have it declares guarantees: { forcedRelease: false }",
  );
  return onlyAnswer(await cache.forceRelease([{ storedKey, fence }]));
}
