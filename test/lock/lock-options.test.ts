import { expect } from 'chai';
import { caches, KeyError, Lock, MemoryCache } from '../../src/index.ts';
import { rejection, uniqueName } from '../support/index.ts';

describe('The options of a Lock', () => {
  it('let locks of one scope exclude each other, and no others', async () => {
    const cache = new MemoryCache();
    const tryIn = async (scope?: string) => {
      const lock = new Lock('k', scope === undefined ? { cache } : { cache, scope });
      return (await lock.tryAcquire()) !== undefined;
    };

    expect([await tryIn('a'), await tryIn('a'), await tryIn('b'), await tryIn()]).to.deep.equal([
      true,
      false,
      true,
      true,
    ]);
  });

  it("keep the lock in the memory of the process (no option 'cache')", async () => {
    const key = uniqueName();
    await using _handle = await new Lock(key).acquire();

    expect(await new Lock(key).tryAcquire()).to.equal(undefined);
  });

  it("keep the lock in caches.default (no option 'cache')", async () => {
    const key = uniqueName();
    await using _inMemory = await new Lock(key).acquire();
    caches.default = new MemoryCache();
    const inDefault = await new Lock(key).tryAcquire();
    caches.default = undefined;

    expect(inDefault?.held).to.equal(true);
  });

  it('take a cache by its name in caches, which is looked up when the lock is acquired', async () => {
    const name = uniqueName('cache');
    const lock = new Lock('k', { cache: name });
    caches.set(name, new Map());

    expect((await lock.tryAcquire())?.held).to.equal(true);

    expect(caches.delete(name)).to.equal(true);
    expect(caches.get(name)).to.equal(undefined);
  });

  it('refuse a name that is not in caches', async () => {
    const name = uniqueName('cache');

    const error = await rejection(new Lock('k', { cache: name }).acquire());

    expect(error).to.be.instanceOf(TypeError);
    expect(error.message).to.contain(`no cache is named '${name}'`);
  });

  it('bound a long owner, which is still no other than itself', async () => {
    const cache = new MemoryCache();
    const owner = 'x'.repeat(1e6);
    const first = await new Lock('k', { cache, owner }).acquire();

    const refused = await rejection(new Lock('k', { cache, owner: `${owner}y` }).acquire());
    const again = await new Lock('k', { cache, owner }).tryAcquire();

    expect((refused.holder as { owner: string }).owner).to.have.length(512);
    expect([first.held, again?.held]).to.deep.equal([false, true]);
  });

  it('refuse a wrong key where it is written', () => {
    expect(() => new Lock('')).to.throw(KeyError, /empty/);
    expect(() => new Lock(7 as never)).to.throw(KeyError, /not 7; write String/);
  });

  it('refuse wrong values where they are written', () => {
    expect(() => new Lock('k', { tll: 1 } as never)).to.throw(TypeError, /no option 'tll'/);
    expect(() => new Lock('k', { owner: '' })).to.throw(
      TypeError,
      /'owner' must be a string that is not empty/,
    );
    expect(() => new Lock('k', { ttl: 9 })).to.throw(TypeError, /'ttl' .* 10 or more, not 9/);
  });

  it('refuse a wrong waitFor', async () => {
    const error = await rejection(new Lock('k').acquire({ waitFor: -1 }));

    expect(error).to.be.instanceOf(TypeError);
    expect(error.message).to.contain("'waitFor'");
  });

  for (const [wait, problem] of [
    [
      { waitfor: 5 },
      "Lock: there is no option 'waitfor' (did you mean 'waitFor'?); there are: waitFor, signal",
    ],
    [5000, 'Lock: the options must be an object, not 5000'],
    [{ signal: 'soon' }, "Lock: option 'signal' must be an AbortSignal, not 'soon'"],
  ] as const) {
    it(`refuse a wrong way to wait (${JSON.stringify(wait)})`, async () => {
      const error = await rejection(new Lock('k').acquire(wait as never));

      expect(error).to.be.instanceOf(TypeError).and.include({ message: problem });
    });
  }
});
