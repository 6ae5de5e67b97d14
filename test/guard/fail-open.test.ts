/** The option `onCacheError`: what becomes of work whose cache fails. */

import type { Job } from 'bullmq';
import { expect } from 'chai';
import { caches, type LockEvent, type LockHandle, once, onceProcessor } from '../../src/index.ts';
import { Bench, plainJob } from '../support/bullmq.ts';
import { failingCache, NO_ROUTE, unreachableCache } from '../support/failing-cache.ts';
import { deferred, rejection, until } from '../support/index.ts';

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

describe("A job that can't be parked", () => {
  /** Two jobs of one key under `'keep-last'`, whose cache can't say which is the newest. The first holds the key. */
  async function secondOfTwo(onCacheError: 'run' | 'raise') {
    const cache = failingCache();
    const events: LockEvent[] = [];
    const gate = deferred();
    const locks: LockHandle[] = [];
    const guarded = onceProcessor(
      async (job: Job, _token, _signal, lock) => {
        locks.push(lock);
        if (job.id === '1') await gate.promise;
        return `ran ${job.id}`;
      },
      { key: 'k', cache, onCacheError, whenLocked: 'keep-last', onEvent: event => events.push(event) },
    );
    const started = deferred();
    cache.announce = async arrivals => {
      started.resolve();
      return arrivals.map(({ owner, parked }) => ({ owner, parked }));
    };
    const first = guarded(plainJob('1'));
    await started.promise;
    cache.announce = failingCache('announce').announce;
    const second = await guarded(plainJob('2')).catch(error => error);
    gate.resolve();
    await first;
    return { second, locks, events };
  }

  it("runs without a lock while another holds its key (onCacheError: 'run')", async () => {
    const { second, locks, events } = await secondOfTwo('run');

    expect(second).to.equal('ran 2');
    expect(locks.map(({ fence }) => fence > 0)).to.deep.equal([true, false]);
    expect(cacheErrors(events)[0]).to.deep.equal({
      key: 'k',
      operation: 'park',
      failedOpen: true,
      cause: NO_ROUTE,
    });
  });

  it("fails with a CacheError (onCacheError: 'raise')", async () => {
    const { second, locks, events } = await secondOfTwo('raise');

    expect(second).to.include({ code: 'ERR_LOCK_CACHE', key: 'k' });
    expect(locks).to.have.length(1);
    expect(cacheErrors(events)[0]).to.deep.equal({
      key: 'k',
      operation: 'park',
      failedOpen: false,
      cause: NO_ROUTE,
    });
  });
});

describe("A job that has acquired its key, and can't know whether it is the newest", () => {
  async function run(onCacheError: 'run' | 'raise') {
    const cache = failingCache('announce');
    const events: LockEvent[] = [];
    const locks: LockHandle[] = [];
    const guarded = onceProcessor(
      async (_job: Job, _token, _signal, lock) => {
        locks.push(lock);
        return [lock.held, lock.fence];
      },
      { key: 'k', cache, onCacheError, whenLocked: 'keep-last', onEvent: event => events.push(event) },
    );
    const outcome = await guarded(plainJob('1')).catch(error => error);
    // The work does not wait for the release.
    const findHolder = async () => (await cache.inspect(['bull::once:1:emails:k']))[0];
    await until(async () => (await findHolder()) === undefined && events.length === 3);
    return { outcome, locks, events, holder: await findHolder() };
  }

  it("releases the key and runs without a lock (onCacheError: 'run')", async () => {
    const { outcome, events, holder } = await run('run');

    expect(outcome).to.deep.equal([false, 0]);
    expect(events.map(({ type }) => type)).to.deep.equal(['acquired', 'cache-error', 'released']);
    expect(cacheErrors(events)).to.deep.equal([
      { key: 'k', operation: 'park', failedOpen: true, cause: NO_ROUTE },
    ]);
    expect(holder).to.equal(undefined);
  });

  it("releases the key and fails with a CacheError (onCacheError: 'raise')", async () => {
    const { outcome, locks, events, holder } = await run('raise');

    expect(outcome).to.include({ code: 'ERR_LOCK_CACHE', key: 'k' });
    expect(locks).to.deep.equal([]);
    expect(cacheErrors(events)).to.deep.equal([
      { key: 'k', operation: 'park', failedOpen: false, cause: NO_ROUTE },
    ]);
    expect(holder).to.equal(undefined);
  });
});
