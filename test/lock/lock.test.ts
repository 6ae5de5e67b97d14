import { expect } from 'chai';
import {
  caches,
  type HeldLock,
  KeyError,
  Lock,
  LockError,
  LockLostError,
  MemoryCache,
  RedisCache,
} from '../../src/index.ts';
import { connectRedis, deferred, rejection, uniqueName, until } from '../support/index.ts';

describe('a Lock', () => {
  const stores = {
    'a MemoryCache': () => new MemoryCache(),
    'a Map': () => new Map<string, unknown>(),
    Redis: () => new RedisCache(redis),
  };
  let redis: ReturnType<typeof connectRedis>;
  before(() => {
    redis = connectRedis();
  });
  after(() => redis.disconnect());

  for (const [name, store] of Object.entries(stores)) {
    describe(`in ${name}`, () => {
      let cache: ReturnType<typeof store>;
      let key: string;
      beforeEach(() => {
        cache = store();
        key = uniqueName('lock');
      });

      it('is taken by one at a time', async () => {
        const one = new Lock(key, { cache });
        const two = new Lock(key, { cache });

        expect(await one.tryAcquire()).to.equal(true);
        expect(await two.tryAcquire()).to.equal(false);
        expect([one.held, two.held]).to.deep.equal([true, false]);
        expect(await one.release()).to.equal(true);
        expect(await two.tryAcquire()).to.equal(true);
        await two.release();
      });

      it('that is held raises on entry, and leaving does not let go of it', async () => {
        const holder = new Lock(key, { cache });
        await holder.acquire();
        let ran = false;
        const other = new Lock(key, { cache });

        const error = await rejection(
          other.run(() => {
            ran = true;
          }),
        );
        const released = await other.release();

        expect(error).to.be.instanceOf(LockError).and.include({ code: 'ERR_LOCK_HELD', key });
        expect((error as unknown as LockError).holder).to.include({ state: 'running', fence: holder.fence });
        expect([ran, released, holder.held]).to.deep.equal([false, false, true]);
        expect(await holder.release()).to.equal(true);
      });

      it('is let go when the body throws, whose error comes out unchanged', async () => {
        const lock = new Lock(key, { cache });
        const error = new Error('body');

        const thrown = await rejection(
          lock.run(() => {
            throw error;
          }),
        );

        expect(thrown).to.equal(error);
        expect(await new Lock(key, { cache }).tryAcquire()).to.equal(true);
      });

      it('returns what the body returns, and is held until it settles', async () => {
        const lock = new Lock(key, { cache });
        for (const value of [undefined, false, 0, '', null])
          expect(await lock.run(() => value)).to.equal(value);

        let heldInside: boolean | undefined;
        await lock.run(async held => {
          await until(() => true);
          heldInside = held.held && !(await new Lock(key, { cache }).tryAcquire());
        });

        expect(heldInside).to.equal(true);
        expect(lock.held).to.equal(false);
      });

      it('does not swallow a LockError of another key', async () => {
        const other = new Lock(`${key}-other`, { cache });
        await other.acquire();

        const error = await rejection(
          new Lock(key, { cache }).run(() => new Lock(`${key}-other`, { cache }).run(() => 'ran')),
        );

        expect(error).to.include({ code: 'ERR_LOCK_HELD', key: `${key}-other` });
      });

      it('is not re-entrant, nested or at once, while different keys go together', async () => {
        const lock = new Lock(key, { cache });

        const nested = await rejection(lock.run(() => lock.run(() => 'ran')));
        const different = await lock.run(() => new Lock(`${key}-2`, { cache }).run(() => 'ran'));
        const gate = deferred();
        const first = lock.run(() => gate.promise);
        const second = await rejection(lock.run(() => 'ran'));
        gate.resolve();
        await first;

        expect(nested).to.include({ code: 'ERR_LOCK_HELD' });
        expect(second).to.include({ code: 'ERR_LOCK_HELD' });
        expect(different).to.equal('ran');
      });

      it('with an owner is not re-entrant either', async () => {
        const lock = new Lock(key, { cache, owner: 'importer' });

        const nested = await rejection(lock.run(() => lock.run(() => 'ran')));
        const [one, two] = await Promise.all([lock.tryAcquire(), lock.tryAcquire()]);

        expect(nested).to.include({ code: 'ERR_LOCK_HELD' });
        expect([one, two]).to.deep.equal([true, false]);
        expect(lock.held).to.equal(true);
        await lock.release();
      });

      it('of one owner is taken over at once after a crash; the old holder is told, and can do no harm', async () => {
        const crashed = new Lock(key, { cache, owner: 'importer', ttl: 60_000 });
        await crashed.acquire();
        const { signal } = crashed;
        const next = new Lock(key, { cache, owner: 'importer' });

        expect(await next.tryAcquire()).to.equal(true);

        expect(next.fence).to.be.above(crashed.fence);
        expect(await crashed.release()).to.equal(false);
        expect(signal.reason).to.be.instanceOf(LockLostError).and.include({ why: 'taken-over', key });
        expect(next.held).to.equal(true);
        await next.release();
      });

      it('is waited for, and taken when it is let go', async () => {
        const holder = new Lock(key, { cache });
        await holder.acquire();
        const waiting = new Lock(key, { cache }).acquire({ waitFor: 30_000 });

        await holder.release();

        expect((await waiting).held).to.equal(true);
        await (await waiting).release();
      });

      it('is waited for no longer than asked', async () => {
        const holder = new Lock(key, { cache });
        await holder.acquire();
        const start = performance.now();

        const error = await rejection(new Lock(key, { cache }).acquire({ waitFor: 120 }));

        expect(error).to.include({ code: 'ERR_LOCK_HELD' });
        expect(performance.now() - start).to.be.at.least(118);
        await holder.release();
      });

      it('is waited for until a signal aborts, with its reason', async () => {
        const holder = new Lock(key, { cache });
        await holder.acquire();
        const controller = new AbortController();
        const reason = new Error('enough');

        const waiting = rejection(
          new Lock(key, { cache }).acquire({ waitFor: 60_000, signal: controller.signal }),
        );
        controller.abort(reason);

        expect(await waiting).to.equal(reason);
        const aborted = new Lock(`${key}-2`, { cache }).acquire({ signal: AbortSignal.abort(reason) });
        expect(await rejection(aborted)).to.equal(reason);
        await holder.release();
      });

      it('has a fence that rises with every taking', async () => {
        const fences: number[] = [];
        for (let i = 0; i < 10; i++) {
          const lock = new Lock(key, { cache });
          await lock.run(held => fences.push(held.fence));
          expect(lock.fence).to.equal(fences[i]);
        }

        expect(fences).to.deep.equal([...new Set(fences)].sort((a, b) => a - b));
      });

      it('keeps its key after a run that succeeded, for keepFor', async () => {
        const lock = new Lock(key, { cache, keepFor: 60_000 });
        await rejection(lock.run(() => Promise.reject(new Error('failed'))));
        await lock.run(() => 'done');

        const error = await rejection(lock.acquire());

        expect((error as unknown as LockError).holder.state).to.equal('done');
        expect(error.message).to.match(/^lock '.*' was done by .* and is kept for another \d+\.\d s$/);
      });

      it('is let go at the end of an await using block', async () => {
        let inside: Lock | undefined;
        {
          await using lock = await new Lock(key, { cache }).acquire();
          inside = lock;
          expect(await new Lock(key, { cache }).tryAcquire()).to.equal(false);
        }

        expect(inside?.held).to.equal(false);
        expect(await new Lock(key, { cache }).tryAcquire()).to.equal(true);
      });

      it('counts a value that somebody else put under the key as held', async () => {
        const full = `once:1:default:${key}`;
        if (cache instanceof Map) cache.set(full, 'mine');
        else if (cache instanceof RedisCache) await redis.set(full, 'mine');
        else return;

        const error = await rejection(new Lock(key, { cache }).acquire());

        expect((error as unknown as LockError).holder.state).to.equal('foreign');
        expect(error.message).to.contain('by a value that is not a lock');
        expect(cache instanceof Map ? cache.get(full) : await redis.get(full)).to.equal('mine');
      });
    });
  }

  it('shares its key with others of its scope, and with none of another', async () => {
    const cache = new MemoryCache();
    const lock = (scope?: string) => new Lock('k', scope === undefined ? { cache } : { cache, scope });
    await lock('a').acquire();

    expect(await lock('a').tryAcquire()).to.equal(false);
    expect(await lock('b').tryAcquire()).to.equal(true);
    expect(await lock().tryAcquire()).to.equal(true);
  });

  it('without a cache is in caches.default, else in the memory of the process', async () => {
    const key = uniqueName();
    const inMemory = new Lock(key);
    await inMemory.acquire();
    const sameMemory = await new Lock(key).tryAcquire();
    caches.default = new MemoryCache();
    const inDefault = await new Lock(key).tryAcquire();
    caches.default = undefined;

    expect([sameMemory, inDefault]).to.deep.equal([false, true]);
    await inMemory.release();
  });

  it('takes a cache by its name', async () => {
    const name = uniqueName('cache');
    const lock = new Lock('k', { cache: name });
    expect((await rejection(lock.acquire())).message).to.contain(`no cache is named '${name}'`);

    caches.set(name, new Map());
    expect(await lock.tryAcquire()).to.equal(true);
    expect(caches.delete(name)).to.equal(true);
    expect(caches.get(name)).to.equal(undefined);
  });

  it('has an aborted signal, no fence and nothing held before it is taken', () => {
    const lock = new Lock('k', { cache: new MemoryCache() });

    expect(lock).to.include({ held: false, fence: 0 });
    expect(lock.signal.aborted).to.equal(true);
    expect(String(lock.signal.reason)).to.contain("lock 'k' was not taken yet");
  });

  it('lets go harmlessly of what it does not hold', async () => {
    const lock = new Lock('k', { cache: new MemoryCache() });

    expect(await lock.release()).to.equal(false);
    await lock.acquire();
    expect(await lock.release()).to.equal(true);
    expect(await lock.release()).to.equal(false);
  });

  it('says what a store did when it fails: it is never held, and never free', async () => {
    const broken = { get: () => Promise.reject(new Error('ECONNREFUSED')), set() {}, delete() {} };

    const error = await rejection(new Lock('k', { cache: broken }).tryAcquire());

    expect(error).to.include({ code: 'ERR_LOCK_CACHE', key: 'k' });
    expect(error.message).to.contain('ECONNREFUSED');
    expect((error.cause as Error).message).to.equal('ECONNREFUSED');
  });

  it('does not believe a store that keeps nothing', async () => {
    const forgetful = { get() {}, set() {}, delete() {} };

    const error = await rejection(new Lock('k', { cache: forgetful }).tryAcquire());

    expect(error.message).to.contain('did not keep what was written');
  });

  it('refuses wrong keys and options where they are written', () => {
    expect(() => new Lock('')).to.throw(KeyError, /empty/);
    expect(() => new Lock(7 as never)).to.throw(KeyError, /not number/);
    expect(() => new Lock('k', { tll: 1 } as never)).to.throw(TypeError, /no option 'tll'/);
    expect(() => new Lock('k', { owner: '' })).to.throw(TypeError, /'owner' must be a text/);
    expect(() => new Lock('k', { ttl: 9 })).to.throw(TypeError, /'ttl' .* 10 or more, not 9/);
  });

  it('refuses a wrong wait', async () => {
    const error = await rejection(new Lock('k').acquire({ waitFor: -1 }));

    expect(error).to.be.instanceOf(TypeError);
    expect(error.message).to.contain("'waitFor'");
  });

  it('gives its work no more than it needs: a key, a fence, a signal, and a way to let go', async () => {
    let seen: HeldLock | undefined;
    await new Lock('k', { cache: new MemoryCache() }).run(held => {
      seen = held;
    });

    expect(Object.keys(seen as HeldLock)).to.deep.equal([]);
    expect(seen?.key).to.equal('k');
  });
});
