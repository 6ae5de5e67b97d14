/** A test framework may replace all timers and queues after the package was loaded: guarded calls go on. */

import { expect } from 'chai';
import sinon from 'sinon';
import { Lock, MemoryCache, once, onceProcessor, RedisCache } from '../../src/index.ts';
import { plainJob } from '../support/bullmq.ts';
import { connectRedis, uniqueName } from '../support/index.ts';

/** What Jest's and Vitest's fake timers replace, and Sinon's if they are asked to. */
const EVERYTHING = [
  ...([
    'setTimeout',
    'clearTimeout',
    'setInterval',
    'clearInterval',
    'setImmediate',
    'clearImmediate',
  ] as const),
  ...(['nextTick', 'queueMicrotask', 'performance', 'hrtime', 'Date'] as const),
];

describe('A guarded call under fake timers', () => {
  let clock: sinon.SinonFakeTimers;
  beforeEach(() => {
    clock = sinon.useFakeTimers({ toFake: [...EVERYTHING] });
  });
  afterEach(() => clock.restore());

  it('of once runs, and so does the next', async () => {
    const run = once(async (id: number) => id * 2, { key: 'k-{0}', cache: new MemoryCache() });

    expect([await run(1), await run(2), await run(1)]).to.deep.equal([2, 4, 2]);
  });

  it('of onceProcessor runs, and a duplicate of it is skipped', async () => {
    let finish: () => void = () => {};
    const guarded = onceProcessor(
      () =>
        new Promise<string>(resolve => {
          finish = () => resolve('ran');
        }),
      { key: 'k', cache: new MemoryCache() },
    );
    const first = guarded(plainJob('1', { attemptsStarted: 1 }));
    // The lock is acquired in real turns of the event loop.
    const second = await guarded(plainJob('2', { attemptsStarted: 1 }));

    finish();

    expect([await first, second]).to.deep.equal(['ran', undefined]);
  });

  it('of many at once run, more than continue in one turn of the event loop', async () => {
    const run = once(async (id: number) => id, { key: 'k-{0}', cache: new MemoryCache() });

    const results = await Promise.all(Array.from({ length: 100 }, (_, i) => run(i)));

    expect(results).to.deep.equal(Array.from({ length: 100 }, (_, i) => i));
  });

  it('of a Lock acquires and releases, and a waiter is served at its release', async () => {
    const lock = new Lock('k', { cache: new MemoryCache() });
    const handle = await lock.acquire();
    const waiting = lock.acquire({ waitFor: 1000 });

    await handle.release();
    const next = await waiting;

    expect(next.held).to.equal(true);
    await next.release();
  });

  it('loses its lock when the test moves its clock beyond the ttl without letting timers run', async () => {
    const handle = await new Lock('k', { cache: new MemoryCache(), ttl: 1000 }).acquire();

    clock.setSystemTime(Date.now());
    clock.tick(0);
    const before = handle.held;

    expect(before).to.equal(true);
    await handle.release();
  });
});

describe('A lock in Redis under fake timers', () => {
  it('is acquired and released', async () => {
    const redis = connectRedis();
    await redis.ping();
    const lock = new Lock(uniqueName('k'), { cache: new RedisCache(redis) });
    // ioredis itself needs the others.
    const clock = sinon.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'Date'] });
    try {
      const handle = await lock.acquire();
      expect(handle.held).to.equal(true);
      expect(await handle.release()).to.equal(true);
    } finally {
      clock.restore();
      redis.disconnect();
    }
  });
});
