import type { Job } from 'bullmq';
import { expect } from 'chai';
import {
  Lock,
  type LockCache,
  type LockEvent,
  MemoryCache,
  once,
  onceProcessor,
  setMode,
} from '../../src/index.ts';
import { Bench } from '../support/bullmq.ts';
import { failingCache } from '../support/failing-cache.ts';
import { connectRedis, deferred, until } from '../support/index.ts';

describe("The mode 'observe'", () => {
  describe('in a queue', () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open();
    });
    afterEach(() => bench.close());

    it('runs all jobs, and emits what would have become of a duplicate', async () => {
      const events: LockEvent[] = [];
      const gate = deferred();
      const seen: unknown[] = [];
      const processor = onceProcessor(
        async (_job: Job, _token, signal, lock) => {
          seen.push([lock.key, lock.held, signal?.aborted]);
          await gate.promise;
          return 'ran';
        },
        { key: 'k', mode: 'observe', raiseIfLock: true, onEvent: event => events.push(event) },
      );
      await bench.worker(processor, { concurrency: 2 });

      const first = await bench.add({});
      await until(() => seen.length === 1);
      const second = await bench.add({});
      await until(() => seen.length === 2);
      gate.resolve();

      expect([await bench.result(first), await bench.result(second)]).to.deep.equal(['ran', 'ran']);
      expect(seen).to.deep.equal([
        ['k', true, false],
        ['k', false, false],
      ]);
      const raised = events.filter(({ type }) => type === 'raised');
      expect(raised).to.have.length(1);
      expect(raised[0]).to.include({ jobId: second.id, observed: true });
      expect(await bench.storedNames()).to.deep.equal([]);
    });

    it('does not abort a job whose lock is lost', async () => {
      const redis = connectRedis();
      const lost = deferred();
      const onEvent = ({ type }: LockEvent) => type === 'lost' && lost.resolve();
      const processor = onceProcessor(
        async (_job: Job, _token, signal) => {
          await redis.del(bench.storedName('k'));
          await lost.promise;
          return signal?.aborted;
        },
        { key: 'k', ttl: 240, mode: 'observe', onEvent },
      );
      await bench.worker(processor);

      expect(await bench.result(await bench.add({}))).to.equal(false);

      redis.disconnect();
    });
  });

  it('runs the work without a lock (the cache fails)', async () => {
    const events: LockEvent[] = [];
    const guarded = once((_: object) => 'ran', {
      key: 'k-{id}',
      mode: 'observe',
      cache: failingCache('acquire'),
      onEvent: event => events.push(event),
    });

    expect(await guarded({ id: 1 })).to.equal('ran');

    expect(events).to.have.length(1);
    expect(events[0]).to.include({ type: 'cache-error', key: 'k-1', failedOpen: true });
  });

  it('does not wait for a cache that hangs, and releases what is acquired late', async () => {
    const stored = new MemoryCache();
    const gate = deferred();
    const slow: LockCache = {
      acquire: async steps => {
        await gate.promise;
        return stored.acquire(steps);
      },
      renew: steps => stored.renew(steps),
      release: steps => stored.release(steps),
      inspect: storedKeys => stored.inspect(storedKeys),
    };
    const types: string[] = [];
    const onEvent = ({ type }: LockEvent) => types.push(type);

    const result = await once(async () => 'ran', { key: 'k', mode: 'observe', cache: slow, onEvent })();
    gate.resolve();
    await until(() => types.includes('released'));

    expect(result).to.equal('ran');
    expect(await new Lock('k', { cache: stored }).tryAcquire()).not.to.equal(undefined);
  });
});

describe("The mode 'off'", () => {
  it('locks nothing, and builds no key', async () => {
    const bench = await Bench.open();
    const processor = onceProcessor(
      async (_job: Job, _token, signal, lock) => [
        lock.key,
        lock.held,
        lock.fence,
        signal?.aborted,
        await lock.release(),
      ],
      { key: 'k-{id}', mode: 'off' },
    );
    await bench.worker(processor);

    expect(await bench.result(await bench.add({}))).to.deep.equal(['', false, 0, false, false]);

    await bench.close();
  });
});

describe('setMode', () => {
  afterEach(() => setMode(undefined));

  it('sets the mode of guards that have none of their own', async () => {
    const cache = new MemoryCache();
    await new Lock('k', { cache }).acquire();
    const guarded = once(() => 'ran', { key: 'k', cache });
    const enforced = once(() => 'ran', { key: 'k', cache, mode: 'enforce' });

    const before = await guarded();
    setMode('off');
    const off = [await guarded(), await enforced()];
    setMode('observe');
    const observed = await guarded();
    setMode(undefined);
    const after = await guarded();

    expect([before, off, observed, after]).to.deep.equal([undefined, ['ran', undefined], 'ran', undefined]);
  });

  it('refuses what is no mode, as the option does', () => {
    expect(() => setMode('on' as never)).to.throw(
      TypeError,
      "setMode: the mode must be 'enforce', 'observe' or 'off'",
    );
    expect(() => once(() => {}, { key: 'k', mode: 'on' as never })).to.throw(
      TypeError,
      "once: option 'mode' must be",
    );
  });
});
