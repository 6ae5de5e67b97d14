import { expect } from 'chai';
import { type Cache, Lock, LockError, LockLostError, MemoryCache } from '../../src/index.ts';
import { deferred, rejection, uniqueName, until } from '../support/index.ts';
import { LOCK_STORES, type LockStore, SHARED_STORES } from './lock-stores.ts';

for (const [where, open] of Object.entries(LOCK_STORES)) {
  describe(`Lock (${where})`, () => {
    let store: LockStore;
    let cache: Cache;
    let key: string;
    before(() => {
      store = open();
      cache = store.cache;
    });
    beforeEach(() => {
      key = uniqueName('lock');
    });
    after(() => store.close());

    it('is acquired by one at a time', async () => {
      const first = await new Lock(key, { cache }).tryAcquire();
      const second = await new Lock(key, { cache }).tryAcquire();

      expect([first?.held, second]).to.deep.equal([true, undefined]);
    });

    it('is free once its handle is released', async () => {
      const first = await new Lock(key, { cache }).acquire();

      expect(await first.release()).to.equal(true);

      const second = await new Lock(key, { cache }).tryAcquire();
      expect([first.held, second?.held]).to.deep.equal([false, true]);
    });

    it('raises a LockError that says who holds the key (acquire)', async () => {
      const { fence } = await new Lock(key, { cache, owner: 'importer' }).acquire();

      const error = (await rejection(new Lock(key, { cache }).acquire())) as unknown as LockError;

      expect(error).to.be.instanceOf(LockError).and.include({ code: 'ERR_LOCK_HELD', key });
      expect(error.holder).to.include({ key, state: 'running', owner: 'importer', fence });
      expect(error.message).to.match(/^lock 'lock-.*' is held by importer$/);
    });

    it('raises a LockError, and does not run the work (run)', async () => {
      const holder = await new Lock(key, { cache }).acquire();
      let isRun = false;

      const error = await rejection(
        new Lock(key, { cache }).run(() => {
          isRun = true;
        }),
      );

      expect(error).to.be.instanceOf(LockError);
      expect([isRun, holder.held, await holder.release()]).to.deep.equal([false, true, true]);
    });

    it('is released when the work throws, and the error comes out unchanged', async () => {
      const error = new Error('work');

      const thrown = await rejection(
        new Lock(key, { cache }).run(() => {
          throw error;
        }),
      );

      expect(thrown).to.equal(error);
      expect(await new Lock(key, { cache }).tryAcquire()).not.to.equal(undefined);
    });

    it('returns what the work returns', async () => {
      const lock = new Lock(key, { cache });

      for (const value of [undefined, false, 0, '', null, key]) {
        expect(await lock.run(() => value)).to.equal(value);
      }
    });

    it('is held until the work has settled', async () => {
      const lock = new Lock(key, { cache });
      const seen: unknown[] = [];

      const handle = await lock.run(async handle => {
        await until(() => true);
        seen.push(handle.held, await lock.tryAcquire());
        return handle;
      });

      expect(seen).to.deep.equal([true, undefined]);
      expect(handle.held).to.equal(false);
    });

    it('does not swallow a LockError of another key', async () => {
      const other = `${key}-other`;
      await new Lock(other, { cache }).acquire();

      const error = await rejection(
        new Lock(key, { cache }).run(() => new Lock(other, { cache }).run(() => 'ran')),
      );

      expect(error).to.include({ code: 'ERR_LOCK_HELD', key: other });
    });

    it('is held beside locks on other keys', async () => {
      const ran = new Lock(key, { cache }).run(() => new Lock(`${key}-2`, { cache }).run(() => 'ran'));

      expect(await ran).to.equal('ran');
    });

    it('is not re-entrant (the work acquires it again)', async () => {
      const lock = new Lock(key, { cache });

      const error = await rejection(lock.run(() => lock.run(() => 'ran')));

      expect(error).to.include({ code: 'ERR_LOCK_HELD' });
    });

    it('is not re-entrant (another caller shares it)', async () => {
      const lock = new Lock(key, { cache });
      const gate = deferred();
      const first = lock.run(() => gate.promise);

      const error = await rejection(lock.run(() => 'ran'));
      gate.resolve();
      await first;

      expect(error).to.include({ code: 'ERR_LOCK_HELD' });
    });

    it('has a fence that rises with every acquisition', async () => {
      const fences: number[] = [];
      for (let i = 0; i < 10; i++) {
        await new Lock(key, { cache }).run(({ fence }) => fences.push(fence));
      }

      expect(fences).to.deep.equal([...new Set(fences)].sort((a, b) => a - b));
    });

    describe('with an owner', () => {
      it('is not re-entrant (the work acquires it again)', async () => {
        const lock = new Lock(key, { cache, owner: 'importer' });

        const error = await rejection(lock.run(() => lock.run(() => 'ran')));

        expect(error).to.include({ code: 'ERR_LOCK_HELD' });
      });

      it('is acquired by one of those who ask at once', async () => {
        const lock = new Lock(key, { cache, owner: 'importer' });

        const [one, two] = await Promise.all([lock.tryAcquire(), lock.tryAcquire()]);

        expect([one?.held, two]).to.deep.equal([true, undefined]);
      });

      it('is reclaimed at once by another Lock of the same owner, with a higher fence', async () => {
        const crashed = await new Lock(key, { cache, owner: 'importer', ttl: 60_000 }).acquire();

        const next = await new Lock(key, { cache, owner: 'importer' }).acquire();

        expect(next.held).to.equal(true);
        expect(next.fence).to.be.above(crashed.fence);
      });

      it('aborts the signal of a holder whose key is reclaimed, which can then not release it', async () => {
        const crashed = await new Lock(key, { cache, owner: 'importer', ttl: 60_000 }).acquire();
        const { signal } = crashed;
        const next = await new Lock(key, { cache, owner: 'importer' }).acquire();

        expect(await crashed.release()).to.equal(false);

        expect(signal.reason).to.be.instanceOf(LockLostError).and.include({ reason: 'revoked', key });
        expect(next.held).to.equal(true);
        expect(await next.release()).to.equal(true);
      });
    });

    describe('with dedupeFor', () => {
      it('keeps the key held as done after the work succeeded (run)', async () => {
        await new Lock(key, { cache, dedupeFor: 60_000, owner: 'importer' }).run(() => 'done');

        const error = (await rejection(new Lock(key, { cache }).acquire())) as unknown as LockError;

        expect(error.holder.state).to.equal('done');
        expect(error.message).to.equal(`lock '${key}' was done by importer and stays held for another 60 s`);
      });

      it('does not run the work again while the key is held as done', async () => {
        const lock = new Lock(key, { cache, dedupeFor: 60_000 });
        await lock.run(() => 'done');

        expect(await rejection(lock.run(() => 'again'))).to.be.instanceOf(LockError);
      });

      it('frees the key when dedupeFor is over', async () => {
        const lock = new Lock(key, { cache, dedupeFor: 30 });
        await lock.run(() => 'done');

        expect(await lock.run(() => 'again', { waitFor: 30_000 })).to.equal('again');
      });

      it('frees the key at once (the work failed)', async () => {
        const lock = new Lock(key, { cache, dedupeFor: 60_000 });
        await rejection(lock.run(() => Promise.reject(new Error('failed'))));

        expect(await lock.run(() => 'again')).to.equal('again');
      });

      it('frees the key at once (the work releases its handle)', async () => {
        const lock = new Lock(key, { cache, dedupeFor: 60_000 });
        await lock.run(handle => handle.release());

        expect(await lock.run(() => 'again')).to.equal('again');
      });

      for (const method of ['acquire', 'tryAcquire'] as const) {
        it(`refuses ${method}(), which can't know whether the work succeeded`, async () => {
          const lock = new Lock(key, { cache, dedupeFor: 60_000 });

          const error = await rejection(lock[method]());

          expect(error).to.be.instanceOf(TypeError);
          expect(error.message).to.equal(
            `Lock: option 'dedupeFor' needs to know whether the work succeeded, which ${method}() can't; use run()`,
          );
          expect(await new Lock(key, { cache }).tryAcquire(), 'the key is free').not.to.equal(undefined);
        });
      }
    });

    describe('that is waited for', () => {
      it('is acquired when its holder releases it', async () => {
        const holder = await new Lock(key, { cache }).acquire();
        const waiting = new Lock(key, { cache }).acquire({ waitFor: 30_000 });

        await holder.release();

        expect((await waiting).held).to.equal(true);
      });

      it('raises a LockError after waitFor', async () => {
        await new Lock(key, { cache }).acquire();
        const start = performance.now();

        const error = await rejection(new Lock(key, { cache }).acquire({ waitFor: 120 }));

        expect(error).to.include({ code: 'ERR_LOCK_HELD' });
        expect(performance.now() - start).to.be.at.least(118);
      });

      it("rejects with the signal's reason when the signal aborts", async () => {
        await new Lock(key, { cache }).acquire();
        const controller = new AbortController();
        const reason = new Error('enough');

        const waiting = rejection(
          new Lock(key, { cache }).acquire({ waitFor: 60_000, signal: controller.signal }),
        );
        controller.abort(reason);

        expect(await waiting).to.equal(reason);
      });

      it("rejects with the signal's reason, and does not acquire (the signal has aborted before)", async () => {
        const reason = new Error('enough');

        const failed = new Lock(key, { cache }).acquire({ signal: AbortSignal.abort(reason) });

        expect(await rejection(failed)).to.equal(reason);
        expect(await new Lock(key, { cache }).tryAcquire()).not.to.equal(undefined);
      });
    });
  });
}

describe('Lock (in any store)', () => {
  for (const [where, open] of Object.entries(SHARED_STORES)) {
    it(`is held by a value that no lock wrote, and leaves the value alone (${where})`, async () => {
      const { cache, write, read, close } = open();
      const key = uniqueName('lock');
      const storedKey = `once::1:default:${key}`;
      await write(storedKey, 'mine');

      const error = (await rejection(new Lock(key, { cache }).acquire())) as unknown as LockError;

      expect(error.holder).to.include({ state: 'foreign', fence: 0 });
      expect(error.message).to.equal(`lock '${key}' is held by a value that is not a lock's`);
      expect(await read(storedKey)).to.equal('mine');
      close();
    });
  }

  it('has no state of its own: its handles have', async () => {
    const lock = new Lock('k', { cache: new MemoryCache() });
    await lock.acquire();

    expect(Object.keys(lock)).to.deep.equal(['key']);
    for (const name of ['held', 'fence', 'signal', 'release', 'throwIfLost', Symbol.asyncDispose]) {
      expect(name in lock, String(name)).to.equal(false);
    }
  });

  it('is neither held nor free, and says what the store did (the store fails)', async () => {
    const broken = { get: () => Promise.reject(new Error('ECONNREFUSED')), set() {}, delete() {} };

    const error = await rejection(new Lock('k', { cache: broken }).tryAcquire());

    expect(error).to.include({ code: 'ERR_LOCK_CACHE', key: 'k' });
    expect(error.message).to.contain('ECONNREFUSED');
    expect((error.cause as Error).message).to.equal('ECONNREFUSED');
  });

  it('is not acquired (the store does not keep what is written)', async () => {
    const forgetful = { get() {}, set() {}, delete() {} };

    const error = await rejection(new Lock('k', { cache: forgetful }).tryAcquire());

    expect(error).to.include({ code: 'ERR_LOCK_CACHE' });
    expect(error.message).to.contain('did not keep what was written');
  });
});
