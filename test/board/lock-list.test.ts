import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { createBoard } from '../../src/board.ts';
import { enterStep } from '../../src/conformance/lines.ts';
import { Lock, MemoryCache, once, RedisCache } from '../../src/index.ts';
import { scopedName } from '../../src/key/stored-name.ts';
import { Bench } from '../support/bullmq.ts';
import { connectRedis, uniqueName } from '../support/index.ts';
import { shownBy } from './served-board.ts';

function stepsOf(name: string, count: number) {
  return Array.from({ length: count }, (_, i) => ({
    storedKey: `once::1:default:${name}-${i}`,
    token: `${name} ${i}`,
    owner: 'me',
    attempt: 0,
    ttl: 60_000,
  }));
}

describe('the locks of a board', () => {
  it('are named with their jobs, also in a scope', async () => {
    const cache = new MemoryCache();
    const owner = 'bull:emails:17@1790000000000';
    const handle = await new Lock('k', { cache, scope: 'shop-3', owner }).acquire();
    const board = createBoard({ caches: { memory: cache } });

    const { locks } = await shownBy(board);
    await handle.release();
    board.close();

    expect(locks).to.have.length(1);
    expect(locks[0]).to.include({ scope: 'shop-3', holderName: 'job 17 of emails', source: 'memory' });
  });

  it('are shown with how large the result is that is kept, and not with what it is', async () => {
    const cache = new MemoryCache();
    await once(() => 'hunter2', { key: 'k', cache, dedupeFor: 60_000 })();
    const alone = await new Lock('alone', { cache }).acquire();
    const board = createBoard({ caches: { memory: cache } });

    const shown = await shownBy(board);
    await alone.release();
    board.close();

    const texts = shown.locks.map(({ key, resultText }: any) => [key, resultText]);
    expect(texts).to.have.deep.members([
      ['k', 'result: 9 bytes kept'],
      ['alone', undefined],
    ]);
    expect(JSON.stringify(shown)).to.not.include('hunter2');
  });

  it('are shown once, where a queue and a cache of one datastore are shown', async () => {
    const bench = await Bench.open();
    const { finish } = await bench.hold();
    const redis = connectRedis();
    const scope = uniqueName('scope');
    const handle = await new Lock('k', { cache: new RedisCache(redis), scope }).acquire();
    const board = createBoard({ queues: [bench.queue], caches: { all: new RedisCache(redis) } });

    const { locks } = await shownBy(board);
    await handle.release();
    await finish();
    board.close();
    redis.disconnect();
    await bench.close();

    const { qualifiedName } = bench.queue;
    const ours = locks.filter(({ queue, scope: of }: any) => queue === qualifiedName || of === scope);
    const about = ({ source, place, cache }: any) => [source, place, cache];
    expect(ours.map(about)).to.have.deep.members([
      [qualifiedName, qualifiedName, undefined],
      ['all', `scope ${scope}`, 'all'],
    ]);
  });

  it('are shown with each holder of a key, with who is parked for it, and with who is next', async () => {
    const cache = new MemoryCache();
    const storedKey = scopedName('shop-3', 'k');
    const steps = [17, 18, 19].map(id =>
      enterStep({ storedKey, owner: `bull:emails:${id}@1790000000000`, places: 2, line: 'all' }),
    );
    await cache.enter(steps);
    const alone = await new Lock('alone', { cache }).acquire();
    const board = createBoard({ caches: { memory: cache, again: cache } });

    const { locks } = await shownBy(board);
    await alone.release();
    board.close();

    const about = ({ holderName, lineText, line }: any) => [holderName, lineText, line?.next.jobId];
    const text = '2 hold it, 1 parked, next: job 19 of emails';
    expect(locks.filter(({ key }: any) => key === 'k').map(about)).to.have.deep.members([
      ['job 17 of emails', text, '19'],
      ['job 18 of emails', text, '19'],
    ]);
    expect(locks.find(({ key }: any) => key === 'alone')).not.to.have.any.keys('line', 'lineText');
  });

  it('are a thousand at most, a hundred a page: those that run before those that are done, and these by their age', async () => {
    const caches = { a: new MemoryCache(), b: new MemoryCache() };
    const done = stepsOf('done', 3000);
    await caches.a.acquire(done);
    await caches.a.release(done.map(step => ({ ...step, dedupeFor: 60_000 })));
    await caches.a.acquire(stepsOf('running', 300));
    await delay(5);
    await caches.b.acquire(stepsOf('later', 150));
    const board = createBoard({ caches });

    const pages = [];
    for (let page = 1; page <= 10; page++) pages.push(await shownBy(board, { page: `${page}` }));
    const beyond = await shownBy(board, { page: '11' });
    board.close();

    const kinds = pages.flatMap(({ locks }) => locks.map(({ key }: any) => key.split('-')[0]));
    expect(kinds).to.deep.equal([
      ...new Array(300).fill('running'),
      ...new Array(150).fill('later'),
      ...new Array(550).fill('done'),
    ]);
    expect(pages[3]).to.include({ isCut: true, count: 1000, page: 4, pages: 10 });
    expect(beyond.page).to.equal(10);
    expect(beyond.locks.map(({ key }: any) => key)).to.deep.equal(pages[9].locks.map(({ key }: any) => key));
  });

  it('are shown beside the problem of a cache that fails', async () => {
    const cache = new MemoryCache();
    const handle = await new Lock('k', { cache }).acquire();
    const store = { get: () => undefined, set: () => {}, delete: () => {} };
    const board = createBoard({ caches: { memory: cache, store } });

    const { locks, problems } = await shownBy(board);
    await handle.release();
    board.close();

    expect(locks).to.have.length(1);
    expect(problems).to.deep.equal([
      "store: locksOf: this cache can't list its locks: it has no method 'list'",
    ]);
  });
});
