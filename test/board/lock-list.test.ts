import { expect } from 'chai';
import { createBoard } from '../../src/board.ts';
import { Lock, MemoryCache } from '../../src/index.ts';
import { shownBy } from './served-board.ts';

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
