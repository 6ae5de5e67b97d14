/** Those who wait for a key: within a process they are served in the order in which they came. */

import { expect } from 'chai';
import type { CreatedCache } from '../../src/conformance/suite.ts';
import { type Listener, Lock, type LockCache, LockError, MemoryCache, RedisCache } from '../../src/index.ts';
import { allCaches, type CacheEntry } from '../support/caches.ts';
import { connectRedis, deferred, nextTurn, rejection, uniqueName, until } from '../support/index.ts';
import { acquire, acquireStep } from '../support/steps.ts';
import { ScriptedCache } from './scripted-cache.ts';

const NAMES = [
  'MemoryCache',
  'RedisCache on ioredis',
  'RedisCache on node-redis',
  'RedisCache on Valkey GLIDE',
  'RedisCache on a cluster (ioredis)',
  'PostgresCache on a pool',
];
const caches = NAMES.map(name => allCaches.find(cache => cache.name === name) as CacheEntry);
/** It notifies nobody: those who wait ask often. */
const WITHOUT_NOTIFICATIONS = 'RedisCache on Valkey GLIDE';

for (const { name, create } of caches) {
  describe(`A waiter for a key (${name})`, () => {
    let cache: LockCache;
    let close: CreatedCache['close'];
    let lock: Lock;
    beforeEach(async () => {
      ({ cache, close } = await create());
      lock = new Lock(uniqueName('k'), { cache });
    });
    afterEach(() => close?.());

    it('acquires it when its holder releases it', async () => {
      const holder = await lock.acquire();

      const waiting = lock.acquire({ waitFor: 20_000 });
      await holder.release();
      const handle = await waiting;

      expect(handle.held).to.equal(true);
      expect(handle.fence).to.be.greaterThan(holder.fence);
      await handle.release();
    });

    if (name !== WITHOUT_NOTIFICATIONS) {
      it('is notified of the release, and need not ask often', async () => {
        const counted = countingCache(cache);
        const holder = await lock.acquire();
        const waiting = new Lock(lock.key, { cache: counted.cache }).acquire({ waitFor: 20_000 });
        await until(() => counted.listeners[0]?.isListening && counted.underWay() === 0);
        const before = counted.acquisitions();

        await holder.release();
        const handle = await waiting;

        // Once when it begins to listen, once when it is notified, and once between if its last pause began before it listened.
        expect(counted.acquisitions() - before).to.be.within(1, 3);
        await handle.release();
      });
    }

    it('fails with a LockError that names the holder when its time is over, and not before', async () => {
      const holder = await new Lock(lock.key, { cache, owner: 'first' }).acquire();
      const startedAt = performance.now();

      const error = (await rejection(lock.acquire({ waitFor: 120 }))) as unknown as LockError;

      expect(performance.now() - startedAt).to.be.at.least(115);
      expect(error).to.be.instanceOf(LockError);
      expect(error.holder.owner).to.equal('first');
      await holder.release();
    });

    it("acquires it when a dead holder's lease ends", async () => {
      await acquire(cache, acquireStep({ storedKey: `once::1:default:${lock.key}`, ttl: 200 }));

      const handle = await lock.acquire({ waitFor: 20_000 });

      expect(handle.held).to.equal(true);
      await handle.release();
    });

    it('is served in its turn among those of its process', async () => {
      const holder = await lock.acquire();
      const served: number[] = [];

      const all = Array.from({ length: 8 }, (_, i) => lock.run(() => served.push(i), { waitFor: 20_000 }));
      await holder.release();
      await Promise.all(all);

      expect(served).to.deep.equal([0, 1, 2, 3, 4, 5, 6, 7]);
    });

    it('leaves when its signal aborts, and holds up nobody behind it', async () => {
      const holder = await lock.acquire();
      const controller = new AbortController();
      const first = lock.acquire({ waitFor: 20_000, signal: controller.signal });
      const second = lock.acquire({ waitFor: 20_000 });

      controller.abort(new Error('enough'));
      const error = await rejection(first);
      await holder.release();

      expect(error.message).to.equal('enough');
      expect((await second).held).to.equal(true);
      await (await second).release();
    });
  });
}

describe('A waiter whose signal aborts while its cache is asked', () => {
  it('leaves as soon as the cache has answered', async () => {
    const lock = new Lock('k', { cache: new MemoryCache() });
    const holder = await lock.acquire();
    const controller = new AbortController();
    const waiting = lock.acquire({ waitFor: 20_000, signal: controller.signal });
    const startedAt = performance.now();

    controller.abort(new Error('enough'));
    const error = await rejection(waiting);

    expect(error.message).to.equal('enough');
    expect(performance.now() - startedAt).to.be.below(1000);
    await holder.release();
  });

  for (const waitFor of [0, 20_000]) {
    it(`leaves at once though the cache is silent, and what it acquires late is released (waitFor: ${waitFor})`, async () => {
      const cache = new ScriptedCache();
      const stuck = deferred();
      cache.stuck = stuck;
      const controller = new AbortController();
      const lock = new Lock('k', { cache, ttl: 60_000 });
      const leaving = rejection(lock.acquire({ waitFor, signal: controller.signal }));
      await until(() => cache.batches.length === 1);

      controller.abort(new Error('enough'));
      const error = await leaving;
      stuck.resolve();
      await until(() => cache.releases.length === 1);

      expect(error.message).to.equal('enough');
    });
  }

  it('may be one of many that share the signal: Node warns of no leak', async () => {
    const lock = new Lock('k', { cache: new MemoryCache() });
    const holder = await lock.acquire();
    const warnings: Error[] = [];
    const note = (warning: Error) => warnings.push(warning);
    process.on('warning', note);
    const controller = new AbortController();
    const { signal } = controller;
    const waiting = Array.from({ length: 50 }, () => rejection(lock.acquire({ waitFor: 20_000, signal })));
    await nextTurn();

    controller.abort(new Error('enough'));
    const errors = await Promise.all(waiting);
    process.off('warning', note);

    expect(new Set(errors.map(({ message }) => message))).to.deep.equal(new Set(['enough']));
    expect(warnings).to.deep.equal([]);
    await holder.release();
  });
});

describe('A waiter behind another of its process', () => {
  it('learns who holds the key from what the other has found since it came', async () => {
    const { cache } = falteringCache();
    const holder = await new Lock('k', { cache, owner: 'the holder' }).acquire();
    const first = new Lock('k', { cache }).acquire({ waitFor: 60_000 });

    const error = await rejection(new Lock('k', { cache }).acquire({ waitFor: 400 }));
    await holder.release();

    expect(error).to.include({ code: 'ERR_LOCK_HELD' });
    expect(error.holder).to.include({ owner: 'the holder' });
    await (await first).release();
  });

  it('does not report "held" from what was found before it came, if the cache no longer answers', async () => {
    const { cache, acquisitions, fallSilent } = falteringCache();
    const holder = await new Lock('k', { cache }).acquire();
    const first = rejection(new Lock('k', { cache, ttl: 400 }).acquire({ waitFor: 60_000 }));
    await until(() => acquisitions() >= 3);
    fallSilent();

    const error = await rejection(new Lock('k', { cache, ttl: 400 }).acquire({ waitFor: 50 }));

    expect(error).to.include({ code: 'ERR_LOCK_CACHE' });
    expect(await first).to.include({ code: 'ERR_LOCK_CACHE' });
    await holder.release();
  });
});

describe('A process whose waiters have left', () => {
  it('keeps no connection for them', async () => {
    const redis = connectRedis();
    const holder = await new Lock(uniqueName('k'), { cache: new RedisCache(redis) }).acquire();
    const listeners = async () =>
      ((await redis.client('LIST')) as string)
        .split('\n')
        .filter(line => line.includes('bullmq-once:waiting')).length;
    const before = await listeners();

    await rejection(new Lock(holder.key, { cache: new RedisCache(redis) }).acquire({ waitFor: 100 }));
    await until(async () => (await listeners()) <= before);

    await holder.release();
    redis.disconnect();
  });
});

/** A cache that counts acquisitions, and lists its listeners. It has no `exchange`, so that each acquisition is counted. */
function countingCache(counted: LockCache) {
  let acquisitions = 0;
  let underWay = 0;
  const listeners: Listener[] = [];
  const cache: LockCache = {
    acquire: steps => {
      acquisitions++;
      underWay++;
      return counted.acquire(steps).finally(() => underWay--);
    },
    renew: steps => counted.renew(steps),
    release: steps => counted.release(steps),
    inspect: storedKeys => counted.inspect(storedKeys),
    listen: (storedKey, onRelease) => {
      const listener = (counted as Required<LockCache>).listen(storedKey, onRelease);
      listeners.push(listener);
      return listener;
    },
  };
  return { cache, listeners, acquisitions: () => acquisitions, underWay: () => underWay };
}

/** A cache that answers acquisitions until it falls silent. */
function falteringCache() {
  const stored = new MemoryCache();
  let isSilent = false;
  let acquisitions = 0;
  const cache: LockCache = {
    acquire: steps => {
      acquisitions++;
      return isSilent ? new Promise(() => {}) : stored.acquire(steps);
    },
    renew: steps => stored.renew(steps),
    release: steps => stored.release(steps),
    inspect: storedKeys => stored.inspect(storedKeys),
  };
  const fallSilent = () => {
    isSilent = true;
  };
  return { cache, acquisitions: () => acquisitions, fallSilent };
}
