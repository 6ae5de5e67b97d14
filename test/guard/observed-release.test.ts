/** Work that is only observed waits neither for its key nor for its release. */

import { fork } from 'node:child_process';
import { once as event } from 'node:events';
import { expect } from 'chai';
import { MemoryCache, once } from '../../src/index.ts';

describe("Work in the mode 'observe'", () => {
  for (const [name, release] of [
    ['fails', () => Promise.reject(new Error('no route to the store'))],
    ['hangs', () => new Promise<never>(() => {})],
  ] as const) {
    it(`gives its result at once (the release ${name})`, async () => {
      const cache = new MemoryCache();
      cache.release = release;
      const observed = once(async () => 'result', { key: 'k', mode: 'observe', cache, ttl: 20_000 });
      const startedAt = performance.now();

      const result = await observed();

      expect(result).to.equal('result');
      expect(performance.now() - startedAt).to.be.below(2000);
    });
  }

  it('fails with its own error, and leaves no rejection behind', async () => {
    const own = new Error('own');
    const observed = once(
      async () => {
        throw own;
      },
      { key: 'k', mode: 'observe', cache: new MemoryCache() },
    );

    let thrown: unknown;
    try {
      await observed();
    } catch (error) {
      thrown = error;
    }

    expect(thrown).to.equal(own);
  });
});

describe('A process', () => {
  it('is not kept alive by an observed wait that goes on beside its work', async () => {
    const startedAt = performance.now();
    const child = fork(new URL('../fixtures/observed-wait.ts', import.meta.url), {
      execArgv: ['--import', 'tsx'],
    });

    const [code] = await event(child, 'exit');

    expect(code).to.equal(0);
    expect(performance.now() - startedAt).to.be.below(30_000);
  });

  it('goes on to the end of its work while a release is tried again, though nothing else keeps it alive', async () => {
    const child = fork(new URL('../fixtures/failing-release.ts', import.meta.url), {
      execArgv: ['--import', 'tsx'],
    });
    let message: unknown;
    child.on('message', sent => {
      message = sent;
    });

    const [code] = await event(child, 'exit');

    expect([code, message]).to.deep.equal([0, 'precious']);
  });
});
