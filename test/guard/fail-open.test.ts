/** The option `onCacheError`: what becomes of work whose cache fails. */

import type { Job } from 'bullmq';
import { expect } from 'chai';
import {
  caches,
  type LockEvent,
  type LockHandle,
  MemoryCache,
  once,
  onceProcessor,
} from '../../src/index.ts';
import { Bench, plainJob } from '../support/bullmq.ts';
import { failingCache, NO_ROUTE, unreachableCache } from '../support/failing-cache.ts';
import { deferred, rejection } from '../support/index.ts';

/** The errors of the cache among events, as far as they say what became of the work. */
function cacheErrors(events: readonly LockEvent[]): object[] {
  return events.flatMap(event => {
    if (event.type !== 'cache-error') return [];
    const { key, operation, failedOpen, error } = event;
    return [{ key, operation, failedOpen, cause: (error.cause as Error).message }];
  });
}

describe("onCacheError: 'run'", () => {
  for (const whenLocked of ['skip', { waitFor: 1000 }, 'keep-last'] as const) {
    it(`runs a job without a lock if its key can't be acquired (${JSON.stringify(whenLocked)})`, async () => {
      const bench = await Bench.open();
      const events: LockEvent[] = [];
      const seen: unknown[] = [];
      await bench.worker(
        onceProcessor(
          async (_job: Job, _token, signal, lock) => {
            seen.push(lock.held, lock.fence, lock.key, signal?.aborted);
            return 'ran';
          },
          {
            key: 'k',
            cache: unreachableCache(),
            onCacheError: 'run',
            whenLocked,
            onEvent: event => events.push(event),
          },
        ),
      );

      expect(await bench.result(await bench.add({}))).to.equal('ran');

      expect(seen).to.deep.equal([false, 0, 'k', false]);
      expect(events).to.have.length(1);
      expect(cacheErrors(events)).to.deep.equal([
        { key: 'k', operation: 'acquire', failedOpen: true, cause: NO_ROUTE },
      ]);
      await bench.close();
    });
  }

  it('covers a guarded function', async () => {
    const guarded = once(async () => 'ran', { key: 'k', cache: unreachableCache(), onCacheError: 'run' });

    expect(await guarded()).to.equal('ran');
  });

  it('hides no error of another kind', async () => {
    const guarded = once(async () => 'ran', { key: 'k', cache: 'nobody', onCacheError: 'run' });

    const error = await rejection(guarded());

    expect(error).to.be.instanceOf(TypeError);
    expect(caches.get('nobody')).to.equal(undefined);
  });
});

describe("onCacheError: 'raise'", () => {
  it("fails a job whose key can't be acquired, and is the default", async () => {
    const bench = await Bench.open();
    await bench.worker(onceProcessor(async () => 'ran', { key: 'k', cache: unreachableCache() }));

    expect(await bench.failure(await bench.add({}))).to.match(new RegExp(NO_ROUTE));

    await bench.close();
  });
});

describe("A job that can't join the line of its key", () => {
  /** Two jobs of one key under `'keep-last'`. The first holds the key, then the cache fails. */
  async function secondOfTwo(onCacheError: 'run' | 'raise') {
    const cache = failingCache();
    const events: LockEvent[] = [];
    const [started, gate] = [deferred(), deferred()];
    const locks: LockHandle[] = [];
    const guarded = onceProcessor(
      async (job: Job, _token, _signal, lock) => {
        locks.push(lock);
        started.resolve();
        if (job.id === '1') await gate.promise;
        return `ran ${job.id}`;
      },
      { key: 'k', cache, onCacheError, whenLocked: 'keep-last', onEvent: event => events.push(event) },
    );
    const first = guarded(plainJob('1'));
    await started.promise;
    cache.enter = failingCache('enter').enter;
    const second = await guarded(plainJob('2')).catch(error => error);
    gate.resolve();
    await first;
    return { second, locks, events };
  }

  it("runs without a lock while another holds its key (onCacheError: 'run')", async () => {
    const { second, locks, events } = await secondOfTwo('run');

    expect(second).to.equal('ran 2');
    expect(locks.map(({ fence }) => fence > 0)).to.deep.equal([true, false]);
    expect(cacheErrors(events)).to.deep.equal([
      { key: 'k', operation: 'acquire', failedOpen: true, cause: NO_ROUTE },
    ]);
  });

  it("fails with a CacheError (onCacheError: 'raise')", async () => {
    const { second, locks, events } = await secondOfTwo('raise');

    expect(second).to.include({ code: 'ERR_LOCK_CACHE', key: 'k' });
    expect(locks).to.have.length(1);
    expect(cacheErrors(events)).to.deep.equal([
      { key: 'k', operation: 'acquire', failedOpen: false, cause: NO_ROUTE },
    ]);
  });
});

describe("A job of which BullMQ can't say who was handed out before it", () => {
  function guardedBy(onCacheError: 'run' | 'raise') {
    const guarded = onceProcessor(async (_job: Job, _token, _signal, lock) => lock.isGuarded, {
      key: 'k',
      cache: new MemoryCache(),
      onCacheError,
      whenLocked: 'in-order',
    });
    const backend = { getRanges: () => Promise.reject(new Error('the connection is closed')) };
    return guarded(plainJob('1', { queue: { backend } }));
  }

  it("runs without a lock (onCacheError: 'run')", async () => {
    expect(await guardedBy('run')).to.equal(false);
  });

  it("fails with a CacheError that names the cause (onCacheError: 'raise')", async () => {
    const error = await guardedBy('raise').catch(thrown => thrown);

    expect(error).to.include({ code: 'ERR_LOCK_CACHE', key: 'k' });
    expect(error.cause).to.have.property('message', 'the connection is closed');
  });
});
