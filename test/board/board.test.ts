import { channel } from 'node:diagnostics_channel';
import { expect } from 'chai';
import { createBoard } from '../../src/board.ts';
import { Lock, MemoryCache, once } from '../../src/index.ts';
import { shownBy } from './served-board.ts';

describe('createBoard', () => {
  it('refuses options that are unknown or have a wrong value', () => {
    const caches = { a: new MemoryCache() };
    const wrong: [options: object, error: string][] = [
      [{}, "createBoard: there is nothing to show; give it 'queues' or 'caches'"],
      [
        { caches, readonly: true },
        "createBoard: there is no option 'readonly'; there are: " +
          'queues, caches, allowForceRelease, hosts, basePath, title',
      ],
      [
        { caches, allowForceRelease: 1 },
        "createBoard: option 'allowForceRelease' must be true or false, not 1",
      ],
      [
        { caches, hosts: 'ops.example.com' },
        "createBoard: option 'hosts' must be an array of one host or more, not 'ops.example.com'",
      ],
      [
        { caches, hosts: [] },
        "createBoard: option 'hosts' must be an array of one host or more, not an empty array",
      ],
      [
        { caches, hosts: ['https://ops.example.com'] },
        "createBoard: option 'hosts' must hold hosts such as 'ops.example.com' or 'localhost:3000', not 'https://ops.example.com'",
      ],
      [{ caches, hosts: [7] }, "createBoard: option 'hosts' must hold hosts such as 'ops.example.com'"],
      [
        { caches, basePath: 'locks' },
        "createBoard: option 'basePath' must be a path such as '/' or '/admin/locks', not 'locks'",
      ],
      [{ caches, basePath: '' }, "createBoard: option 'basePath' must be a path such as"],
      [{ caches, basePath: '//locks' }, "createBoard: option 'basePath' must be a path such as"],
      [{ caches, basePath: '/locks?x' }, "createBoard: option 'basePath' must be a path such as"],
      [{ caches, title: 7 }, "createBoard: option 'title' must be a string that is not empty, not 7"],
      [{ caches: { a: {} } }, "createBoard: option 'caches', 'a': a store needs get, set and delete"],
      [{ queues: 'emails' }, "createBoard: option 'queues' must be an array of queues, not 'emails'"],
      [{ queues: ['emails'] }, "createBoard: option 'queues' must hold BullMQ queues only, not 'emails'"],
    ];

    for (const [options, error] of wrong) expect(() => createBoard(options)).to.throw(TypeError, error);
  });

  it('counts the duplicates of this process and those that are recorded, until it is closed', async () => {
    const board = createBoard({ caches: { memory: new MemoryCache() } });
    const skipped = channel('bullmq-once:skipped');

    const before = skipped.hasSubscribers;
    skipped.publish({ type: 'skipped' });
    board.record({ type: 'parked' });
    board.record({ type: 'acquired' });
    const { outcomes } = await shownBy(board);
    board.close();

    expect(before).to.equal(true);
    expect(outcomes).to.have.length(60);
    expect(outcomes.at(-1)).to.include({ skipped: 1, raised: 0, delayed: 0, parked: 1, handled: 0 });
    expect(skipped.hasSubscribers).to.equal(false);
  });

  it('counts duplicates that a function has handled', async () => {
    const cache = new MemoryCache();
    const board = createBoard({ caches: { memory: cache } });
    const handle = await new Lock('k', { cache }).acquire();
    const guarded = once(async () => 'worked', {
      key: 'k',
      cache,
      whenLocked: () => 'handled by a function',
    });

    const result = await guarded();
    const { outcomes } = await shownBy(board);
    await handle.release();
    board.close();

    expect(result).to.equal('handled by a function');
    expect(outcomes.at(-1)).to.include({ skipped: 0, raised: 0, delayed: 0, parked: 0, handled: 1 });
  });
});
