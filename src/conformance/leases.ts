/** Tests of leases: how long they last, and whom they belong to. */

import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import {
  acquire,
  acquireStep,
  assertWithin,
  type DefineTest,
  inspect,
  release,
  renew,
  until,
} from './helpers.ts';

export function testLeases(test: DefineTest): void {
  test('expiry', 'a lease ends for everyone after its ttl', async ({ cache, other }) => {
    const { storedKey, ...expiring } = acquireStep({ ttl: 50 });
    await acquire(cache, { storedKey, ...expiring });

    await until(async () => (await inspect(other, storedKey)) === undefined);
    const result = await acquire(other, acquireStep({ storedKey }));

    assert(result.acquired);
    assert.equal(result.reclaimed, false);
  });

  test('expiry', 'a lease that is renewed outlives its first ttl', async ({ cache, other }) => {
    const step = acquireStep({ ttl: 500 });
    await acquire(cache, step);

    for (let i = 0; i < 6; i++) {
      await delay(150);
      assert.equal(await renew(cache, step), true, `renewal ${i} was refused`);
    }

    assert.equal((await acquire(other, acquireStep({ storedKey: step.storedKey }))).acquired, false);
  });

  test(
    'expiry',
    'a renewal extends a lease to its ttl from now, and does not add to it',
    async ({ cache }) => {
      const step = acquireStep({ ttl: 60_000 });
      await acquire(cache, step);

      await renew(cache, step);
      await renew(cache, step);

      assertWithin((await inspect(cache, step.storedKey))?.expiresIn, 30_000, 60_000, 'expiresIn');
    },
  );

  test('expiry', 'a renewal does not revive a lease that expired or was released', async ({ cache }) => {
    const released = acquireStep();
    await acquire(cache, released);
    await release(cache, released);
    const expired = acquireStep({ ttl: 20 });
    await acquire(cache, expired);
    await until(async () => (await inspect(cache, expired.storedKey)) === undefined);

    assert.equal(await renew(cache, released), false);
    assert.equal(await renew(cache, expired), false);
    assert.equal(await inspect(cache, released.storedKey), undefined);
    assert.equal(await inspect(cache, expired.storedKey), undefined);
  });

  test(
    'onlyTheHolder',
    'a holder whose lease expired can neither renew nor release the lease of the next holder',
    async ({ cache, other }) => {
      const first = acquireStep({ ttl: 50 });
      const { storedKey } = first;
      await acquire(cache, first);
      await until(async () => (await inspect(cache, storedKey)) === undefined);
      const next = acquireStep({ storedKey, ttl: 60_000 });
      await acquire(other, next);

      assert.equal(await renew(cache, first), false, 'the first holder renewed the lease');
      assert.equal(await release(cache, first), false, 'the first holder released the key');

      const record = await inspect(other, storedKey);
      assert.equal(record?.owner, next.owner);
      assertWithin(record?.expiresIn, 10_000, 60_000, 'expiresIn');
      assert.equal((await acquire(cache, acquireStep({ storedKey }))).acquired, false);
    },
  );

  test('retention', 'a lease is kept, however many others there are', async ({ cache, other }) => {
    const step = acquireStep();
    await acquire(cache, step);

    for (let i = 0; i < 10; i++) {
      await cache.acquire(Array.from({ length: 1000 }, () => acquireStep({ ttl: 10_000 })));
    }

    assert.equal((await acquire(other, acquireStep({ storedKey: step.storedKey }))).acquired, false);
  });
}
