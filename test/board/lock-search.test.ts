/** The locks of a board are searched for at the server: more may be held than a page shows. */

import { expect } from 'chai';
import { createBoard } from '../../src/board.ts';
import { type AcquireStep, Lock, MemoryCache } from '../../src/index.ts';
import { queueName } from '../../src/key/stored-name.ts';
import { until } from '../support/index.ts';
import { askForceRelease, shownBy } from './served-board.ts';

function step(key: string, more: Partial<AcquireStep> = {}): AcquireStep {
  const token = `${Math.random()}`;
  return { storedKey: queueName('bull:emails', key), token, owner: 'me', attempt: 0, ttl: 60_000, ...more };
}

const keysOf = ({ locks }: any): string[] => locks.map(({ key }: any) => key).sort();

describe('a search on the board', () => {
  /** More than are kept without a search. */
  const MANY = 1500;
  let cache: MemoryCache;
  beforeEach(async () => {
    cache = new MemoryCache();
    await cache.acquire(Array.from({ length: MANY }, (_, i) => step(`early-${i}`)));
    await cache.acquire([
      step('Welcome-42', { owner: 'bull:emails:17@1790000000000' }),
      step('other', { storedKey: queueName('bull:imports', 'other') }),
      step('scoped', { storedKey: 'once::1:shop-3:scoped' }),
    ]);
  });

  it('finds a lock by a part of its key, its queue, its scope or its holder, among more than are shown', async () => {
    const board = createBoard({ caches: { memory: cache } });
    const all = await shownBy(board);
    const found = await Promise.all(
      ['welcome-4', 'IMPORTS', 'shop-3', 'job 17 of', 'nothing'].map(text => shownBy(board, { text })),
    );
    board.close();

    expect(all).to.include({ count: 1000, isCut: true });
    expect(keysOf(all)).to.not.include('Welcome-42');
    expect(found.map(keysOf)).to.deep.equal([['Welcome-42'], ['other'], ['scoped'], ['Welcome-42'], []]);
    expect(found.map(({ isCut }) => isCut)).to.deep.equal(new Array(5).fill(false));
  });

  it('finds the locks in one state', async () => {
    const done = step('done');
    const kept = step('reserved');
    await cache.acquire([done, kept]);
    await cache.release([
      { ...done, dedupeFor: 60_000 },
      { ...kept, dedupeFor: 0, reservation: { dueIn: 10, lastsFor: 60_000 } },
    ]);
    const board = createBoard({ caches: { memory: cache } });

    const found = await Promise.all(['done', 'reserved', 'foreign'].map(state => shownBy(board, { state })));
    board.close();

    expect(found.map(keysOf)).to.deep.equal([['done'], ['reserved'], []]);
  });

  it('looks at one queue or cache only, where that is wanted', async () => {
    const other = new MemoryCache();
    const handle = await new Lock('there', { cache: other }).acquire();
    const board = createBoard({ caches: { memory: cache, other } });

    const { locks, sources } = await shownBy(board, { source: 'other' });
    await handle.release();
    board.close();

    expect(keysOf({ locks })).to.deep.equal(['there']);
    expect(sources).to.deep.equal(['memory', 'other']);
  });

  it('is served though a hundred others are made at once', async () => {
    const board = createBoard({ caches: { memory: cache } });
    const texts = Array.from({ length: 100 }, (_, i) => `early-${i + 100}`);

    // On a busy machine a look may take longer than a page waits.
    await Promise.all(
      texts.map(text => until(async () => keysOf(await shownBy(board, { text })).includes(text), text)),
    );
    board.close();
  });

  it('needs no look of its own each time, though another viewer searches for something else in between', async () => {
    let looks = 0;
    const list = cache.list.bind(cache);
    cache.list = prefix => {
      looks++;
      return list(prefix);
    };
    const board = createBoard({ caches: { memory: cache } });

    const startedAt = performance.now();
    for (let i = 0; i < 20; i++) {
      await shownBy(board, { text: 'early-1' });
      await shownBy(board, { text: 'early-2' });
    }
    // What was seen is shown for a second and a half.
    const rounds = 1 + Math.floor((performance.now() - startedAt) / 1500);
    board.close();

    expect(looks).to.be.at.most(2 * rounds);
  });

  it('shows no lock again that was released by force, in what was seen before', async () => {
    const board = createBoard({ caches: { memory: cache }, allowForceRelease: true });
    const [lock] = (await shownBy(board, { text: 'welcome-42' })).locks;
    const { status } = await askForceRelease(board, lock);
    await shownBy(board, { text: 'another search' });
    const { locks } = await shownBy(board, { text: 'welcome-42' });
    board.close();

    expect(status).to.equal(200);
    expect(locks).to.deep.equal([]);
  });

  it('is refused where a parameter is wrong', async () => {
    const board = createBoard({ caches: { memory: cache } });
    const wrong = [
      { state: 'held' },
      { source: 'no such' },
      { page: '0' },
      { page: 'x' },
      { text: 'a'.repeat(513) },
    ];

    const problems = await Promise.all(
      wrong.map(async query => (await shownBy(board, query as never)).problem),
    );
    board.close();

    expect(problems[0]).to.equal("'state' must be running, reserved, done, foreign, not 'held'");
    expect(problems[1]).to.equal("'source' must be a queue or cache of this board, not 'no such'");
    expect(problems[2]).to.equal("'page' must be a whole number, 1 or more, not '0'");
    expect(problems[3]).to.equal("'page' must be a whole number, 1 or more, not 'x'");
    expect(problems[4]).to.match(/^'text' must be at most 512 characters, not 'aaa/);
  });
});
