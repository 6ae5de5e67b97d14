/** Whatever fails on a job's way through the guard: its key does not stay held for it, and its own error comes out. */

import { expect } from 'chai';
import type { ReleaseStep } from '../../src/cache/contract.ts';
import { MemoryCache, onceProcessor } from '../../src/index.ts';
import { plainJob } from '../support/bullmq.ts';
import { deferred, rejection, until } from '../support/index.ts';
import { acquireStep } from '../support/steps.ts';

const STORED = 'bull::once:1:emails:k';
const worker = { opts: { lockDuration: 100 } };
const isFree = async (cache: MemoryCache) => (await cache.inspect([STORED]))[0] === undefined;

describe('The key of a job', () => {
  it('is free if BullMQ can not be asked whether the job is still its own', async () => {
    // Its answers take a while, as those of a cache that does not execute in order.
    const cache = new (class extends MemoryCache {
      override async release(steps: readonly ReleaseStep[]): Promise<boolean[]> {
        await new Promise(resolve => setTimeout(resolve, 20));
        return super.release(steps);
      }
    })();
    const guarded = onceProcessor(() => 'ran', { key: 'k', cache });
    const job = plainJob('1', {
      queue: worker,
      processedOn: Date.now() - 1000,
      extendLock: () => Promise.reject(new Error('NOREPLICAS')),
    });

    const error = await rejection(guarded(job, 'token'));

    expect(error.message).to.equal('NOREPLICAS');
    expect(await isFree(cache)).to.equal(true);
  });

  it('is free after its work if the cache can not listen for those that are to replace it', async () => {
    const cache = new (class extends MemoryCache {
      override listen(): never {
        throw new Error('no listening today');
      }
    })();
    const guarded = onceProcessor(() => 'ran', { key: 'k', cache, whenLocked: 'replace' });

    expect(await guarded(plainJob('1'))).to.equal('ran');
    expect(await isFree(cache)).to.equal(true);
  });

  it('is free if the error of its work can not be read, which comes out as it is', async () => {
    const cache = new MemoryCache();
    const hostile = Object.defineProperty(new Error('mine'), 'name', {
      get() {
        throw new Error('from the getter');
      },
    });
    const guarded = onceProcessor(
      () => {
        throw hostile;
      },
      { key: 'k', cache, holdThroughRetries: true },
    );

    expect(await rejection(guarded(plainJob('1')))).to.equal(hostile);
    expect(await isFree(cache)).to.equal(true);
  });
});

describe('A job whose starts are counted anew (job.retry with resetAttemptsStarted)', () => {
  const owner = 'bull:emails:1@1';

  it('reclaims the lease of its dead run, because BullMQ says that it is the current one', async () => {
    const cache = new MemoryCache();
    await cache.acquire([acquireStep({ storedKey: STORED, owner, attempt: 1 })]);
    const guarded = onceProcessor(() => 'ran', { key: 'k', cache });
    const job = plainJob('1', {
      queue: worker,
      attemptsStarted: 1,
      stalledCounter: 1,
      extendLock: async () => 1,
    });

    expect(await guarded(job, 'token')).to.equal('ran');
  });

  it('does not, if BullMQ says that another run is the current one', async () => {
    const cache = new MemoryCache();
    await cache.acquire([acquireStep({ storedKey: STORED, owner, attempt: 1 })]);
    let runs = 0;
    const guarded = onceProcessor(() => ++runs, { key: 'k', cache });
    const job = plainJob('1', {
      queue: worker,
      attemptsStarted: 1,
      stalledCounter: 1,
      extendLock: async () => 0,
    });

    expect(await guarded(job, 'token')).to.equal(undefined);
    expect(runs).to.equal(0);
  });

  it('is another job if it never ran before: a producer has used the id and the time of a removed one', async () => {
    const cache = new MemoryCache();
    await cache.acquire([acquireStep({ storedKey: STORED, owner, attempt: 1 })]);
    let runs = 0;
    const guarded = onceProcessor(() => ++runs, { key: 'k', cache });
    const job = plainJob('1', { queue: worker, attemptsStarted: 1, extendLock: async () => 1 });

    expect(await guarded(job, 'token')).to.equal(undefined);
    expect(runs).to.equal(0);
  });
});

describe('A job that comes back while others wait for its key', () => {
  for (const [name, inspect] of [
    ['fails', () => Promise.reject(new Error('no route to the store'))],
    ['never answers', () => new Promise<never>(() => {})],
  ] as const) {
    it(`runs without a lock if the cache ${name} (onCacheError: 'run')`, async () => {
      const cache = new MemoryCache();
      const gate = deferred();
      const options = {
        key: 'k',
        cache,
        ttl: 1000,
        onCacheError: 'run',
        whenLocked: { waitFor: 60_000 },
      } as const;
      const guarded = onceProcessor(async job => (job.id === '1' ? gate.promise : job.id), options);
      const first = guarded(plainJob('1'));
      await until(async () => !(await isFree(cache)));
      const waiting = guarded(plainJob('2'));
      await new Promise(setImmediate);
      cache.inspect = inspect;

      const result = await guarded(plainJob('3', { attemptsStarted: 2 }));

      expect(result).to.equal('3');
      gate.resolve();
      await Promise.all([first, waiting]);
    });
  }
});
