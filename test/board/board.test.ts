import { expect } from 'chai';
import { createBoard } from '../../src/board.ts';
import { MemoryCache } from '../../src/index.ts';

describe('createBoard', () => {
  it('refuses options that are unknown or have a wrong value', () => {
    const caches = { a: new MemoryCache() };
    const wrong: [options: object, error: string][] = [
      [{}, "createBoard: there is nothing to show; give it 'queues' or 'caches'"],
      [
        { caches, readonly: true },
        "createBoard: there is no option 'readonly'; there are: " +
          'queues, caches, allowForceRelease, hosts, basePath, jobUrl, title',
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

  it('refuses an address of jobs without {queue} and {id}', () => {
    for (const jobUrl of ['/queues/{queue}', 'javascript:alert("{queue}{id}")', 7] as never[]) {
      expect(() => createBoard({ caches: { a: new MemoryCache() }, jobUrl })).to.throw(
        TypeError,
        /option 'jobUrl' must be an address with \{queue\} and \{id\}/,
      );
    }
  });
});
