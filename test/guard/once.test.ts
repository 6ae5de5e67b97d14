/** `once`: guards a function, or a method as its decorator. */

import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import {
  caches,
  KeyError,
  LockError,
  type LockEvent,
  MemoryCache,
  once,
  RedisCache,
} from '../../src/index.ts';
import { connectRedis, deferred, rejection, uniqueName } from '../support/index.ts';

describe('once', () => {
  it('skips a call whose key is held, and runs calls whose keys are free', async () => {
    const gate = deferred();
    const ran: unknown[] = [];
    const cache = new MemoryCache();
    const guarded = once(
      async (named: { arg_a: string; arg_b: string }) => {
        ran.push(named);
        await gate.promise;
        return 'ran';
      },
      { key: 'foo-key-{arg_a}-{arg_b}', cache },
    );
    const first = guarded({ arg_a: 'teste', arg_b: 'foo' });

    expect(await guarded({ arg_a: 'teste', arg_b: 'foo' })).to.equal(undefined);
    const other = guarded({ arg_a: 'teste', arg_b: 'bar' });
    const [holder] = await cache.inspect(['once::1:default:foo-key-teste-foo']);
    gate.resolve();

    expect(holder?.state).to.equal('running');
    expect(await Promise.all([first, other])).to.deep.equal(['ran', 'ran']);
    expect(await guarded({ arg_a: 'teste', arg_b: 'foo' })).to.equal('ran');
    expect(ran).to.have.length(3);
  });

  it('rejects with a LockError under raiseIfLock', async () => {
    const gate = deferred();
    const guarded = once((id: number) => gate.promise.then(() => id), {
      key: 'k-{0}',
      raiseIfLock: true,
      cache: new MemoryCache(),
    });
    const first = guarded(1);

    const error = await rejection(guarded(1));
    gate.resolve();

    expect(error).to.be.instanceOf(LockError).and.include({ code: 'ERR_LOCK_HELD', key: 'k-1' });
    expect(await first).to.equal(1);
  });

  it("builds its key from the arguments' numbers, or by a function of them", async () => {
    const cache = new MemoryCache();
    const keys: string[] = [];
    const note = async (..._args: unknown[]) => {
      for (const key of ['a-7-x', 'b-9', 'plain']) {
        if ((await cache.inspect([`once::1:default:${key}`]))[0]) keys.push(key);
      }
    };

    await once(note, { key: 'a-{0}-{1.name}', cache })(7, { name: 'x' });
    await once(note, { key: (id: unknown) => `b-${id}`, cache })(9);
    await once(note, { key: 'plain', cache })();

    expect(keys).to.deep.equal(['a-7-x', 'b-9', 'plain']);
  });

  it('returns what its function returns', async () => {
    const guarded = once((value: unknown) => value, { key: 'k', cache: new MemoryCache() });

    for (const value of [undefined, false, 0, null, 'x']) expect(await guarded(value)).to.equal(value);
  });

  it('throws what its function throws, and releases the key', async () => {
    const error = new TypeError('own');
    const guarded = once(
      (what: unknown) => {
        if (what === error) throw error;
        return what;
      },
      { key: 'k', cache: new MemoryCache() },
    );

    expect(await rejection(guarded(error))).to.equal(error);
    expect(await guarded('again')).to.equal('again');
  });

  it('keeps name, length and `this`', async () => {
    const guarded = once(
      async function send(this: { id: number }, _a: number, _b: number) {
        return this.id;
      },
      { key: 'k-{0}', cache: new MemoryCache() },
    );

    expect(guarded).to.include({ name: 'send' }).and.have.length(2);
    expect(await guarded.call({ id: 7 }, 1, 2)).to.equal(7);
  });

  it('rejects a call without running it if no key can be built from its arguments', async () => {
    let runs = 0;
    const guarded = once((_named: { id?: number | undefined }) => runs++, {
      key: 'k-{id}',
      cache: new MemoryCache(),
    });

    const error = await rejection(guarded({ id: undefined }));
    const missing = await rejection(guarded({}));

    expect(error).to.be.instanceOf(KeyError);
    expect(missing.message).to.equal("lock key 'k-{id}': the first argument has no 'id' (it has: no fields)");
    expect(runs).to.equal(0);
  });

  it('keeps its key held, as done, for dedupeFor after a success', async () => {
    const guarded = once(() => 'ran', { key: 'k', dedupeFor: 60_000, cache: new MemoryCache() });

    expect(await guarded()).to.equal('ran');
    expect(await guarded()).to.equal(undefined);
  });

  it('excludes other instances that share its Redis and its scope, and no others', async () => {
    const redis = connectRedis();
    const scope = uniqueName();
    const gate = deferred();
    const make = (scopeOf: string) =>
      once(() => gate.promise.then(() => 'ran'), { key: 'k', scope: scopeOf, cache: new RedisCache(redis) });

    const first = make(scope)();
    const second = await make(scope)();
    const elsewhere = make(`${scope}-2`)();
    gate.resolve();

    expect(second).to.equal(undefined);
    expect(await Promise.all([first, elsewhere])).to.deep.equal(['ran', 'ran']);
    redis.disconnect();
  });

  it('keeps its locks in caches.default if it has no cache', async () => {
    const cache = new Map<string, unknown>();
    caches.default = cache;
    let stored = 0;
    await once(
      () => {
        stored = cache.size;
      },
      { key: 'k' },
    )();
    caches.default = undefined;

    expect(stored).to.equal(1);
    expect(cache.size).to.equal(0);
  });

  it('waits for its key under { waitFor }', async () => {
    const gate = deferred();
    const ran: number[] = [];
    const guarded = once(
      async (n: number) => {
        ran.push(n);
        await gate.promise;
        return n;
      },
      { key: 'k', cache: new MemoryCache(), whenLocked: { waitFor: 20_000 } },
    );

    const both = Promise.all([guarded(1), guarded(2)]);
    gate.resolve();

    expect(await both).to.deep.equal([1, 2]);
    expect(ran).to.deep.equal([1, 2]);
  });

  it("resolves to what the function of whenLocked makes of the holder and the call's arguments", async () => {
    const gate = deferred();
    const events: LockEvent[] = [];
    const guarded = once(async (_n: number) => gate.promise, {
      key: 'k',
      cache: new MemoryCache(),
      whenLocked: (holder, n: number) => `${n} finds it ${holder.state}`,
      onEvent: event => events.push(event),
    });
    const first = guarded(1);

    expect(await guarded(2)).to.equal('2 finds it running');

    gate.resolve();
    await first;
    expect(events.map(({ type }) => type)).to.deep.equal(['acquired', 'handled', 'released']);
  });

  for (const [options, problem] of [
    [{}, /'key' must be a template/],
    [{ key: '{' }, /never closed/],
    [{ key: 'k', raiseIfLocked: true }, /no option 'raiseIfLocked'/],
    [
      { key: 'k', whenLocked: 'keep-last' },
      /must be 'skip', 'raise', 'share', { waitFor: ms } or a function/,
    ],
    [
      { key: 'k', whenLocked: { delay: 5 } },
      /must be 'skip', 'raise', 'share', { waitFor: ms } or a function/,
    ],
  ] as const) {
    it(`throws a TypeError where its options are written (${JSON.stringify(options)})`, () => {
      expect(() => once(() => 1, options as never)).to.throw(TypeError, problem);
    });
  }

  it('throws a TypeError if it wraps no function', () => {
    expect(() => once('fn' as never, { key: 'k' })).to.throw(TypeError, /must be a function, not string/);
  });
});

describe('@once', () => {
  it('guards a method by the standard rules for decorators, and keeps its `this`', async () => {
    const gate = deferred();
    class Invoices {
      readonly sent: number[] = [];

      @once({ key: 'invoice-{0}', cache: new MemoryCache() })
      async send(id: number): Promise<string | undefined> {
        this.sent.push(id);
        await gate.promise;
        return `sent ${id}`;
      }
    }
    const invoices = new Invoices();

    const first = invoices.send(1);
    const duplicate = await invoices.send(1);
    const other = invoices.send(2);
    gate.resolve();

    expect(duplicate).to.equal(undefined);
    expect(await Promise.all([first, other])).to.deep.equal(['sent 1', 'sent 2']);
    expect(invoices.sent).to.deep.equal([1, 2]);
    expect(invoices.send).to.have.length(1);
  });

  it("guards a method by TypeScript's legacy rules for decorators", () => {
    const folder = fileURLToPath(new URL('../fixtures/legacy-decorators/', import.meta.url));
    const env = { ...process.env, TSX_TSCONFIG_PATH: `${folder}tsconfig.json` };

    const output = execFileSync(process.execPath, ['--import', 'tsx', `${folder}invoices.ts`], {
      env,
      encoding: 'utf8',
    });

    expect(JSON.parse(output)).to.deep.equal({
      results: ['sent 1', null, 'sent 2'],
      sent: [1, 2],
      length: 1,
    });
  });

  it('throws a TypeError where its options are written', () => {
    expect(() => once({ key: '{' })).to.throw(TypeError, /never closed/);
    expect(() => once(undefined as never)).to.throw(TypeError, /must be an object/);
  });

  it('throws a TypeError if it decorates anything but a method', () => {
    const decorate = once({ key: 'k' }) as (...args: unknown[]) => unknown;

    expect(() => decorate(undefined, { kind: 'field' })).to.throw(TypeError, /decorates methods/);
    expect(() => decorate({}, 'name', { get: () => 1 })).to.throw(TypeError, /decorates methods/);
  });
});
