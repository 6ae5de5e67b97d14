import { expect } from 'chai';
import { MemoryCache } from '../../src/cache/memory.ts';
import { caches, resolveCache, toLockCache } from '../../src/cache/registry.ts';
import { onceProcessor } from '../../src/guard/once-processor.ts';
import { Bench } from '../support/bullmq.ts';
import { deferred, until } from '../support/index.ts';

describe('caches', () => {
  afterEach(() => {
    caches.default = undefined;
  });

  it("serves a queue from the option 'cache', else from the queue's own entry, else from the default", async () => {
    const stores = {
      own: new Map<string, unknown>(),
      byDefault: new Map<string, unknown>(),
      given: new Map<string, unknown>(),
    };
    const [one, two, three] = [await Bench.open(), await Bench.open(), await Bench.open()];
    caches.set(one.queueName, stores.own);
    caches.set(three.queueName, stores.own);
    caches.default = stores.byDefault;
    const gate = deferred();
    const work = () => gate.promise;
    await one.worker(onceProcessor(work, { key: 'k' }));
    await two.worker(onceProcessor(work, { key: 'k' }));
    await three.worker(onceProcessor(work, { key: 'k', cache: stores.given }));

    const jobs = await Promise.all([one.add({}), two.add({}), three.add({})]);
    await until(() => Object.values(stores).every(store => store.size === 1));
    gate.resolve();
    await Promise.all([one, two, three].map((bench, i) => bench.result(jobs[i] as never)));

    expect(Object.values(stores).map(store => store.size)).to.deep.equal([0, 0, 0]);
    caches.delete(one.queueName);
    caches.delete(three.queueName);
    await Promise.all([one.close(), two.close(), three.close()]);
  });

  it('refuses what is no cache where it is written', () => {
    expect(() => caches.set('emails', {} as never)).to.throw(
      TypeError,
      /caches\.set\('emails', …\): a store needs get, set/,
    );
    expect(() => {
      caches.default = { get() {}, set() {} } as never;
    }).to.throw(TypeError, /caches\.default: .* has no delete \(or del\)/);
  });

  it('makes one cache of a store, so that all locks on the store take turns', () => {
    const store = new Map();
    const memory = new MemoryCache();

    expect(toLockCache(store, 'cache')).to.equal(toLockCache(store, 'cache'));
    expect(toLockCache(memory, 'cache')).to.equal(memory);
  });

  it('has the same entries in all copies of the package in a process', async () => {
    const path = new URL('../../src/cache/registry.ts?second', import.meta.url).href;
    const second = (await import(path)) as typeof import('../../src/cache/registry.ts');
    caches.set('shared', new MemoryCache());

    expect(second.caches).to.not.equal(caches);
    expect(second.caches.get('shared')).to.equal(caches.get('shared'));
    expect(second.resolveCache(undefined)).to.equal(resolveCache(undefined));
    caches.delete('shared');
    expect(second.caches.get('shared')).to.equal(undefined);
  });
});
