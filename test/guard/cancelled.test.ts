/** A guarded job that BullMQ cancels while it waits for its key. */

import { expect } from 'chai';
import { MemoryCache, onceProcessor } from '../../src/index.ts';
import { plainJob } from '../support/bullmq.ts';
import { deferred, rejection, until } from '../support/index.ts';

describe('A job that is cancelled while it asks for its key', () => {
  it("does not run, though the cache fails (onCacheError: 'run')", async () => {
    const cache = new MemoryCache();
    const answer = deferred();
    cache.acquire = async () => {
      await answer.promise;
      throw new Error('no route to the store');
    };
    let runs = 0;
    const guarded = onceProcessor(() => ++runs, {
      key: 'k',
      cache,
      onCacheError: 'run',
      whenLocked: { waitFor: 60_000 },
    });
    const cancel = new AbortController();

    const failure = rejection(guarded(plainJob('1'), 'token', cancel.signal));
    cancel.abort(new Error('cancelled'));
    answer.resolve();

    expect((await failure).message).to.match(/no route to the store|cancelled/);
    expect(runs).to.equal(0);
  });

  it('does not run, and leaves its key free, though it has acquired it meanwhile', async () => {
    const cache = new MemoryCache();
    const { acquire } = cache;
    const answer = deferred();
    cache.acquire = async steps => {
      await answer.promise;
      return acquire.call(cache, steps);
    };
    let runs = 0;
    const guarded = onceProcessor(() => ++runs, { key: 'k', cache, whenLocked: { waitFor: 60_000 } });
    const cancel = new AbortController();

    const failure = rejection(guarded(plainJob('1'), 'token', cancel.signal));
    cancel.abort(new Error('cancelled'));
    answer.resolve();

    expect((await failure).message).to.equal('cancelled');
    expect(runs).to.equal(0);
    await until(async () => (await cache.inspect(['bull::once:1:emails:k']))[0] === undefined);
  });
});
