import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Job } from 'bullmq';
import { expect } from 'chai';
import { Teller } from '../../src/events/events.ts';
import {
  Lock,
  type LockCache,
  type LockEvent,
  MemoryCache,
  once,
  onceProcessor,
  RedisCache,
  setMode,
} from '../../src/index.ts';
import { Bench, oneOfEachKind, setups } from '../support/bullmq.ts';
import { connectRedis, deferred, rejection, uniqueName, until } from '../support/index.ts';

const TYPES = [
  ...['acquired', 'taken-over', 'renewed', 'lost', 'released'],
  ...['skipped', 'raised', 'retried', 'kept', 'failed'],
];

/** Listens to all channels, of the keys that are this test's own. */
function listen(): { told: LockEvent[]; types: () => string[]; stop: () => void } {
  const told: LockEvent[] = [];
  const hear = (event: unknown) => told.push(event as LockEvent);
  for (const type of TYPES) subscribe(`bullmq-once:${type}`, hear);
  return {
    told,
    types: () => told.map(({ type }) => type),
    stop() {
      for (const type of TYPES) unsubscribe(`bullmq-once:${type}`, hear);
    },
  };
}

describe('the events of a lock', () => {
  let heard: ReturnType<typeof listen>;
  beforeEach(() => {
    heard = listen();
  });
  afterEach(() => heard.stop());

  it('tell of its taking, its renewals and its end', async () => {
    const redis = connectRedis();
    const key = uniqueName('k');
    const lock = new Lock(key, { cache: new RedisCache(redis), ttl: 120, owner: 'me', scope: 's' });

    await lock.acquire();
    await until(() => heard.types().includes('renewed'));
    await lock.release();
    redis.disconnect();

    const about = { key, storedKey: `once:1:s:${key}`, owner: 'me' };
    const [acquired, renewed] = heard.told;
    const released = heard.told.at(-1);
    expect(acquired).to.include({ ...about, type: 'acquired', fence: lock.fence });
    expect(acquired).to.have.property('waited').within(0, 10_000);
    expect(renewed).to.include({ ...about, type: 'renewed', fence: lock.fence, ttl: 120 });
    expect(released).to.include({ ...about, type: 'released', fence: lock.fence, keepFor: 0 });
    expect(released).to.have.property('held').above(0);
  });

  it('tell how long it was waited for', async () => {
    const cache = new MemoryCache();
    const first = await new Lock('k', { cache }).acquire();
    const waiting = new Lock('k', { cache }).acquire({ waitFor: 10_000 });
    setTimeout(() => void first.release(), 150);

    await (await waiting).release();

    const acquired = heard.told.filter(({ type }) => type === 'acquired');
    expect(acquired[1]).to.have.property('waited').above(100);
  });

  it('tell of a loss, once, and why', async () => {
    const redis = connectRedis();
    const key = uniqueName('k');
    const lock = await new Lock(key, { cache: new RedisCache(redis), ttl: 90 }).acquire();

    await redis.del(`once:1:default:${key}`);
    await until(() => heard.types().includes('lost'));
    await lock.release();
    redis.disconnect();

    expect(heard.told.filter(({ type }) => type === 'lost')).to.have.length(1);
    expect(heard.told.find(({ type }) => type === 'lost')).to.include({ key, why: 'taken-over' });
    expect(heard.types()).not.to.include('released');
  });

  it('tell of a take-over by the same owner', async () => {
    const cache = new MemoryCache();
    const first = await new Lock('k', { cache, owner: 'me' }).acquire();
    const second = await new Lock('k', { cache, owner: 'me' }).acquire();

    expect(heard.types()).to.deep.equal(['acquired', 'lost', 'taken-over', 'acquired']);
    expect(heard.told[2]).to.include({ fence: second.fence });
    expect(first.held).to.equal(false);
    await second.release();
  });

  it('tell what the cache could not do', async () => {
    const cache = new MemoryCache();
    const broken = Object.assign(new MemoryCache(), {
      acquire: () => Promise.reject(new Error('no route')),
    });
    const releasing = Object.assign(Object.create(cache) as MemoryCache, {
      acquire: cache.acquire.bind(cache),
      renew: cache.renew.bind(cache),
      release: () => Promise.reject(new Error('no way back')),
    });

    await rejection(new Lock('a', { cache: broken }).acquire());
    const lock = await new Lock('b', { cache: releasing }).acquire();
    await lock.release();

    expect(heard.types()).to.deep.equal(['failed', 'acquired', 'failed']);
    expect(heard.told[0]).to.include({ key: 'a', step: 'claim', unguarded: false });
    expect(heard.told[0]).to.have.nested.property('error.code', 'ERR_LOCK_CACHE');
    expect(heard.told[2]).to.include({ key: 'b', step: 'release', unguarded: false });
    expect(heard.told[2]).to.have.nested.property('error.message', 'no way back');
  });

  it('are not made where nobody listens', () => {
    const teller = new Teller();

    const before = teller.hears('acquired');
    heard.stop();

    // A lock asks this before it makes an event.
    expect([before, teller.hears('acquired')]).to.deep.equal([true, false]);
  });
});

describe('the option onEvent', () => {
  it('is told of the locks that it was given for, and of no others', async () => {
    const cache = new MemoryCache();
    const told: string[] = [];
    const onEvent = ({ type, key }: LockEvent) => told.push(`${type} ${key}`);
    const gate = deferred();
    const guarded = once((_id: number) => gate.promise, { key: 'k-{0}', cache, onEvent });

    const first = guarded(1);
    await guarded(1);
    await new Lock('other', { cache }).run(() => {});
    gate.resolve();
    await first;

    expect(told).to.deep.equal(['acquired k-1', 'skipped k-1', 'released k-1']);
  });

  for (const [how, onEvent] of Object.entries({
    throws: () => {
      throw new Error('oh');
    },
    rejects: async () => {
      throw new Error('oh');
    },
  })) {
    it(`harms nothing when it ${how}: it becomes a warning`, async () => {
      const warnings: string[] = [];
      const hear = (warning: Error) => warnings.push(warning.message);
      process.on('warning', hear);
      const guarded = once(async () => 'ran', { key: 'k', cache: new MemoryCache(), onEvent });

      const results = [await guarded(), await guarded()];
      await new Promise(setImmediate);
      process.off('warning', hear);

      expect(results).to.deep.equal(['ran', 'ran']);
      // One in a while: whichever of these tests came first.
      expect(warnings.length).to.be.at.most(1);
      for (const text of warnings)
        expect(text).to.match(/an onEvent callback failed on 'acquired': Error: oh/);
    });
  }

  it('is apart from the channels, a subscriber of which that throws is for Node to report: the job goes on', async () => {
    const uncaught: unknown[] = [];
    const others = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.on('uncaughtException', error => uncaught.push(error));
    const throws = () => {
      throw new Error('a bad subscriber');
    };
    subscribe('bullmq-once:acquired', throws);
    const guarded = once(async () => 'ran', { key: 'k', cache: new MemoryCache() });

    const results = [await guarded(), await guarded()];
    await until(() => uncaught.length === 2);
    unsubscribe('bullmq-once:acquired', throws);
    process.removeAllListeners('uncaughtException');
    for (const other of others) process.on('uncaughtException', other);

    expect(results).to.deep.equal(['ran', 'ran']);
    expect(String(uncaught[0])).to.equal('Error: a bad subscriber');
  });

  it('must be a function', () => {
    expect(() => new Lock('k', { onEvent: 'log' as never })).to.throw(
      TypeError,
      "Lock: option 'onEvent' must be a function, not 'log'",
    );
  });
});

for (const setup of oneOfEachKind) {
  describe(`the events of jobs, on ${setup.name}`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    for (const [whenLocked, type] of [
      ['skip', 'skipped'],
      ['raise', 'raised'],
      [{ retryIn: 50 }, 'retried'],
      [{ waitFor: 50 }, 'skipped'],
      ['keep-last', 'kept'],
    ] as const) {
      it(`say that a duplicate is ${type}: ${JSON.stringify(whenLocked)}`, async () => {
        const told: LockEvent[] = [];
        const gate = deferred();
        const started = deferred<string>();
        const processor = onceProcessor(
          async (job: Job) => {
            started.resolve(job.id as string);
            await gate.promise;
          },
          { key: 'k', whenLocked, onEvent: event => told.push(event) },
        );
        await bench.worker(processor, { concurrency: 2 });
        const first = await bench.add({});
        await started.promise;

        const second = await bench.add({});
        await until(() => told.some(event => event.type === type));
        gate.resolve();
        await bench.ended(first);
        await bench.ended(second);

        const event = told.find(one => one.type === type) as LockEvent & { holder: { owner: string } };
        const { queueName } = bench;
        expect(event).to.include({ key: 'k', queueName, jobId: second.id, observed: false });
        expect(event.storedKey).to.equal(bench.storedName('k'));
        expect(event.holder.owner).to.match(new RegExp(`${queueName}:${first.id}@\\d+$`));
        expect(told[0]).to.include({ type: 'acquired', queueName, jobId: first.id });
      });
    }
  });
}

describe('the mode', () => {
  afterEach(() => setMode(undefined));

  it("'observe' runs all work, and tells what would have become of it", async () => {
    const told: LockEvent[] = [];
    const bench = await Bench.open(setups[0]);
    const gate = deferred();
    const seen: unknown[] = [];
    const processor = onceProcessor(
      async (_job: Job, _token, signal, lock) => {
        seen.push([lock.key, lock.held, signal?.aborted]);
        await gate.promise;
        return 'ran';
      },
      { key: 'k', mode: 'observe', raiseIfLock: true, onEvent: event => told.push(event) },
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
    const raised = told.filter(({ type }) => type === 'raised');
    expect(raised).to.have.length(1);
    expect(raised[0]).to.include({ jobId: second.id, observed: true });
    expect(await bench.storedNames()).to.deep.equal([]);
    await bench.close();
  });

  it("'observe' runs work though its key can't be built or its cache fails, and tells of it", async () => {
    const told: LockEvent[] = [];
    const onEvent = (event: LockEvent) => told.push(event);
    const broken = { get: () => Promise.reject(new Error('no route')), set: () => {}, delete: () => {} };
    const options = { key: 'k-{id}', mode: 'observe', onEvent } as const;

    const keyless = await once(async (_: object) => 'ran', { ...options, cache: new MemoryCache() })({});
    const cacheless = await once(async (_: object) => 'ran', { ...options, cache: broken as never })({
      id: 1,
    });

    expect([keyless, cacheless]).to.deep.equal(['ran', 'ran']);
    expect(told).to.have.length(2);
    expect(told[0]).to.include({ type: 'failed', key: '', unguarded: true });
    expect(told[0]).to.have.nested.property('error.code', 'ERR_LOCK_KEY');
    expect(told[1]).to.include({ type: 'failed', key: 'k-1', unguarded: true });
  });

  it("'observe' does not keep work waiting for a cache that hangs, and lets go of what it gets late", async () => {
    const stored = new MemoryCache();
    const gate = deferred();
    const slow: LockCache = {
      acquire: async claims => {
        await gate.promise;
        return stored.acquire(claims);
      },
      renew: leases => stored.renew(leases),
      release: leases => stored.release(leases),
      inspect: keys => stored.inspect(keys),
    };

    const told: string[] = [];
    const onEvent = ({ type }: LockEvent) => told.push(type);
    const result = await once(async () => 'ran', { key: 'k', mode: 'observe', cache: slow, onEvent })();
    gate.resolve();
    await until(() => told.includes('released'));

    expect(result).to.equal('ran');
    expect(await new Lock('k', { cache: stored }).tryAcquire()).to.equal(true);
  });

  it("'observe' does not abort work whose lock is lost", async () => {
    const bench = await Bench.open(setups[0]);
    const redis = connectRedis();
    const lost = deferred();
    const onEvent = ({ type }: LockEvent) => type === 'lost' && lost.resolve();
    const processor = onceProcessor(
      async (_job: Job, _token, signal) => {
        await redis.del(bench.storedName('k'));
        await lost.promise;
        return signal?.aborted;
      },
      { key: 'k', ttl: 90, mode: 'observe', onEvent },
    );
    await bench.worker(processor);

    expect(await bench.result(await bench.add({}))).to.equal(false);

    redis.disconnect();
    await bench.close();
  });

  it("'off' locks nothing, and asks for no key", async () => {
    const bench = await Bench.open(setups[0]);
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

  it('of the process is that of guards which have none of their own', async () => {
    const cache = new MemoryCache();
    const held = await new Lock('k', { cache }).acquire();
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
    await held.release();
  });

  it('that is none is refused where it is written', () => {
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
