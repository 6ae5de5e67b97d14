import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { caches, KeyError, LockError, MemoryCache, once, RedisCache } from '../../src/index.ts';
import { connectRedis, deferred, rejection, uniqueName } from '../support/index.ts';

describe('once', () => {
  it('skips a call whose key is held, and runs it when the key is free', async () => {
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
    const [holder] = await cache.inspect(['once:1:default:foo-key-teste-foo']);
    gate.resolve();

    expect(holder?.state).to.equal('running');
    expect(await Promise.all([first, other])).to.deep.equal(['ran', 'ran']);
    expect(await guarded({ arg_a: 'teste', arg_b: 'foo' })).to.equal('ran');
    expect(ran).to.have.length(3);
  });

  it('raises where it is told to', async () => {
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

  it('takes its key from the arguments by their number, or from a function of them', async () => {
    const cache = new MemoryCache();
    const keys: string[] = [];
    const note = async (..._args: unknown[]) => {
      for (const key of ['a-7-x', 'b-9', 'plain']) {
        if ((await cache.inspect([`once:1:default:${key}`]))[0]) keys.push(key);
      }
    };

    await once(note, { key: 'a-{0}-{1.name}', cache })(7, { name: 'x' });
    await once(note, { key: (id: unknown) => `b-${id}`, cache })(9);
    await once(note, { key: 'plain', cache })();

    expect(keys).to.deep.equal(['a-7-x', 'b-9', 'plain']);
  });

  it('returns and throws what the function does, and frees the key', async () => {
    const cache = new MemoryCache();
    const error = new TypeError('own');
    const guarded = once(
      (what: unknown) => {
        if (what === error) throw error;
        return what;
      },
      { key: 'k', cache },
    );

    for (const value of [undefined, false, 0, null, 'x']) expect(await guarded(value)).to.equal(value);
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

  it('rejects a call of which no key can be built, without running it', async () => {
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

  it('keeps the key after a success for keepFor', async () => {
    const guarded = once(() => 'ran', { key: 'k', keepFor: 60_000, cache: new MemoryCache() });

    expect(await guarded()).to.equal('ran');
    expect(await guarded()).to.equal(undefined);
  });

  it('holds between instances that share a Redis, and only within its scope', async () => {
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

  it('uses caches.default where it is given no cache', async () => {
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

  it('refuses wrong options where they are written', () => {
    const fn = () => 1;
    expect(() => once(fn, {} as never)).to.throw(TypeError, /'key' must be a template/);
    expect(() => once(fn, { key: '{' })).to.throw(TypeError, /never closed/);
    expect(() => once(fn, { key: 'k', raiseIfLocked: true } as never)).to.throw(
      TypeError,
      /no option 'raiseIfLocked'/,
    );
    expect(() => once('fn' as never, { key: 'k' })).to.throw(TypeError, /must be a function, not string/);
    expect(() => once({ key: '{' })).to.throw(TypeError, /never closed/);
    expect(() => once(undefined as never)).to.throw(TypeError, /must be an object/);
  });
});

describe('@once', () => {
  it('decorates a method by the standard rules, which keeps its `this`', async () => {
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

  it("decorates a method by TypeScript's legacy rules", () => {
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

  it('refuses what is no method', () => {
    const decorate = once({ key: 'k' }) as (...args: unknown[]) => unknown;

    expect(() => decorate(undefined, { kind: 'field' })).to.throw(TypeError, /decorates methods/);
    expect(() => decorate({}, 'name', { get: () => 1 })).to.throw(TypeError, /decorates methods/);
  });
});
