import { expect } from 'chai';
import { type Cache, Lock, type LockHandle, LockLostError, locksOf, MemoryCache } from '../../src/index.ts';
import { LockHandle as LockHandleClass } from '../../src/lock/lock-handle.ts';
import { rejection, uniqueName } from '../support/index.ts';
import { leaseTerms } from '../support/lease-terms.ts';
import { LOCK_STORES, type LockStore } from './lock-stores.ts';

for (const [where, openStore] of Object.entries(LOCK_STORES)) {
  describe(`The handles of one Lock that two callers share (${where})`, () => {
    let store: LockStore;
    let lock: Lock;
    before(() => {
      store = openStore();
    });
    beforeEach(() => {
      lock = new Lock(uniqueName('shared'), { cache: store.cache });
    });
    after(() => store.close());

    const expectHeldBySecond = async (second: LockHandle) => {
      expect(second.held).to.equal(true);
      expect(second.signal.aborted).to.equal(false);
      expect(await lock.tryAcquire()).to.equal(undefined);
      expect(await second.release(), 'the second still held it').to.equal(true);
    };

    it('stay apart when the first is released once more', async () => {
      const first = await lock.acquire();
      await first.release();
      const second = await lock.acquire();

      expect(await first.release()).to.equal(false);

      await expectHeldBySecond(second);
    });

    it('stay apart when the first is released late (it was released by force before)', async () => {
      const first = await lock.acquire();
      await locksOf(store.cache).forceRelease(lock.key);
      const second = await lock.acquire();

      expect(await first.release()).to.equal(false);

      expect(first.signal.reason).to.include({ code: 'ERR_LOCK_LOST', reason: 'revoked' });
      await expectHeldBySecond(second);
    });

    it('stay apart when the block of an await using ends (the first was released in it)', async () => {
      let second: LockHandle;
      {
        await using first = await lock.acquire();
        await first.release();
        second = await lock.acquire();
      }

      await expectHeldBySecond(second);
    });

    it('stay apart when the block of an await using ends (the first was released by force in it)', async () => {
      let second: LockHandle;
      {
        await using _first = await lock.acquire();
        await locksOf(store.cache).forceRelease(lock.key);
        second = await lock.acquire();
      }

      await expectHeldBySecond(second);
    });

    it('stay apart when run() ends (its work was released by force)', async () => {
      let second: LockHandle | undefined;
      await lock.run(async () => {
        await locksOf(store.cache).forceRelease(lock.key);
        second = await lock.acquire();
      });

      await expectHeldBySecond(second as LockHandle);
    });
  });
}

describe('LockHandle', () => {
  let cache: Cache;
  let lock: Lock;
  beforeEach(() => {
    cache = new MemoryCache();
    lock = new Lock('k', { cache });
  });

  const TTL = 80;
  /** Lets a lease expire before any timer can run. */
  const expire = () => {
    const end = performance.now() + TTL;
    while (performance.now() < end);
  };

  it('reports whether it was held until its release', async () => {
    const handle = await lock.acquire();

    expect([await handle.release(), await handle.release()]).to.deep.equal([true, false]);
  });

  it('is released at the end of the block of an await using', async () => {
    let handle: LockHandle;
    {
      await using inside = await lock.acquire();
      handle = inside;
      expect(await lock.tryAcquire()).to.equal(undefined);
    }

    expect(handle.held).to.equal(false);
    expect(await lock.tryAcquire()).not.to.equal(undefined);
  });

  it('is released at the end of the block of an await using that throws, and the error comes out unchanged', async () => {
    const error = new Error('work');
    const work = async () => {
      await using _handle = await lock.acquire();
      throw error;
    };

    expect(await rejection(work())).to.equal(error);
    expect(await lock.tryAcquire()).not.to.equal(undefined);
  });

  it('lets an await using pass where nothing was acquired', async () => {
    await lock.acquire();
    let isHeld: boolean | undefined;
    {
      await using handle = await lock.tryAcquire();
      isHeld = handle !== undefined;
    }

    expect(isHeld).to.equal(false);
  });

  it('shows no more than it needs to', async () => {
    const handle = await lock.acquire();

    expect(Object.keys(handle)).to.deep.equal([]);
    expect(handle).to.include({ key: 'k', held: true, isGuarded: true });
    expect(handle.fence).to.be.above(0);
  });

  it('is not held, has no fence and does not abort (the work runs without a lock)', async () => {
    const handle = LockHandleClass.unguarded(leaseTerms({ key: 'k' }));

    expect(handle).to.include({ key: 'k', held: false, isGuarded: false, fence: 0 });
    expect(handle.signal.aborted).to.equal(false);
    expect(await handle.release()).to.equal(false);
  });

  it('is known to be lost on the first line that runs (the event loop was blocked for longer than the ttl)', async () => {
    const handle = await new Lock('k', { cache, ttl: TTL }).acquire();
    const { signal } = handle;
    expire();

    expect([handle.held, signal.aborted]).to.deep.equal([false, true]);
    expect(() => signal.throwIfAborted())
      .to.throw(LockLostError)
      .that.includes({ reason: 'expired' });
  });

  describe('throwIfLost', () => {
    it('does nothing while the lock is held', async () => {
      const handle = await lock.acquire();

      handle.throwIfLost();
    });

    it("throws the signal's reason (the lock is lost)", async () => {
      const handle = await new Lock('k', { cache, owner: 'importer' }).acquire();
      const { signal } = handle;
      await new Lock('k', { cache, owner: 'importer' }).acquire();

      expect(() => handle.throwIfLost())
        .to.throw(LockLostError, "lock 'k' is lost")
        .that.equals(signal.reason);
    });

    it('throws on the first line that runs (the event loop was blocked for longer than the ttl)', async () => {
      const handle = await new Lock('k', { cache, ttl: TTL }).acquire();
      expire();

      expect(() => handle.throwIfLost())
        .to.throw(LockLostError)
        .that.includes({ code: 'ERR_LOCK_LOST', key: 'k', reason: 'expired' });
    });

    it('throws after the release too (the lock was lost before)', async () => {
      const handle = await new Lock('k', { cache, ttl: TTL }).acquire();
      expire();
      await handle.release();

      expect(() => handle.throwIfLost()).to.throw(LockLostError);
    });

    it('does nothing after the release', async () => {
      const handle = await lock.acquire();
      await handle.release();

      handle.throwIfLost();
    });

    it('does nothing where the work runs without a lock', () => {
      LockHandleClass.unguarded(leaseTerms()).throwIfLost();
    });
  });
});
