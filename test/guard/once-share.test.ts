/** `once(fn, { whenLocked: 'share' })`: a single flight. */

import { expect } from 'chai';
import type { Redis } from 'ioredis';
import pg from 'pg';
import type { LineRecord } from '../../src/cache/contract.ts';
import { KeyValueCache } from '../../src/cache/key-value.ts';
import {
  type LockCache,
  type LockEvent,
  MemoryCache,
  type OnceOptions,
  once,
  onceProcessor,
  RedisCache,
} from '../../src/index.ts';
import { PostgresCache } from '../../src/postgres.ts';
import { connectRedis, type Deferred, deferred, rejection, uniqueName, until } from '../support/index.ts';
import { sharedPostgres } from '../support/shared-servers.ts';
import { enterStep } from '../support/steps.ts';

const memory = new MemoryCache();
const store = new KeyValueCache(new Map());

interface Opened {
  /** Two of them, as two processes have them. */
  readonly caches: readonly [LockCache, LockCache];
  close?(): unknown;
}

const places: Record<string, () => Opened | Promise<Opened>> = {
  'in the memory of the process': () => ({ caches: [memory, memory] }),
  'in a store': () => ({ caches: [store, store] }),
  'in Redis'() {
    const clients = [connectRedis(), connectRedis()] as const;
    return {
      caches: [new RedisCache(clients[0]), new RedisCache(clients[1])],
      close: () => clients.map(client => client.disconnect()),
    };
  },
  async 'in PostgreSQL'() {
    const pool = new pg.Pool({ connectionString: (await sharedPostgres()).url, max: 4 });
    return { caches: [new PostgresCache(pool), new PostgresCache(pool)], close: () => pool.end() };
  },
};

/** A function that is called through two guards. Its nth run ends as it is told. */
class Flights {
  readonly gates: Deferred<unknown>[] = Array.from({ length: 4 }, () => deferred<unknown>());
  runs = 0;
  readonly #calls: readonly (() => Promise<unknown>)[];
  readonly #cache: LockCache;
  readonly #key = uniqueName('k');
  #called = 0;

  constructor(caches: readonly LockCache[], options: Partial<OnceOptions> = {}) {
    const key = this.#key;
    this.#cache = caches[0] as LockCache;
    const fn = async () => {
      const end = await this.gates[this.runs++]?.promise;
      if (end instanceof Error) throw end;
      return end;
    };
    this.#calls = caches.map(cache => once(fn, { key, whenLocked: 'share', cache, ...options }));
  }

  /** Waits until one runs, and so many others are in the line. */
  async areWaiting(count: number): Promise<void> {
    const storedKey = `once::1:default:${this.#key}`;
    await until(() => this.runs > 0);
    await until(async () => {
      const [line] = (await this.#cache.lines?.([{ storedKey, owner: '' }])) ?? [];
      return (line as LineRecord).parked === count;
    });
  }

  call(count: number): Promise<unknown>[] {
    return Array.from({ length: count }, async () => this.#calls[this.#called++ % this.#calls.length]?.());
  }
}

for (const [where, open] of Object.entries(places)) {
  describe(`Calls that share a result ${where}`, () => {
    let opened: Opened;
    before(async () => {
      opened = await open();
    });
    after(() => opened.close?.());

    it('run the function once, and all resolve to what it returned', async () => {
      const flights = new Flights(opened.caches);
      const calls = flights.call(100);
      await flights.areWaiting(99);

      flights.gates[0]?.resolve({ rate: 1.08 });

      for (const result of await Promise.all(calls)) expect(result).to.deep.equal({ rate: 1.08 });
      expect(flights.runs).to.equal(1);
    });

    it('run it again if it fails, one at a time; only the call that ran it rejects', async () => {
      const flights = new Flights(opened.caches);
      const first = flights.call(1);
      await until(() => flights.runs === 1);
      const others = flights.call(6);
      await flights.areWaiting(6);
      flights.gates[0]?.resolve(new Error('the first fails'));
      flights.gates[1]?.resolve('second');

      expect(await rejection(first[0] as Promise<unknown>)).to.include({ message: 'the first fails' });
      expect(await Promise.all(others)).to.deep.equal(others.map(() => 'second'));
      expect(flights.runs).to.equal(2);
    });

    it('run it again when they come after its end, and not within a window', async () => {
      for (const dedupeFor of [0, 60_000]) {
        const flights = new Flights(opened.caches, { dedupeFor });
        for (const [n, gate] of flights.gates.entries()) gate.resolve(n);

        const results = [await flights.call(1)[0], await flights.call(1)[0]];

        expect(results).to.deep.equal(dedupeFor === 0 ? [0, 1] : [0, 0]);
      }
    });

    it('share undefined too', async () => {
      const flights = new Flights(opened.caches);
      const calls = flights.call(4);
      await flights.areWaiting(3);
      flights.gates[0]?.resolve(undefined);

      expect(await Promise.all(calls)).to.deep.equal([undefined, undefined, undefined, undefined]);
      expect(flights.runs).to.equal(1);
    });
  });
}

describe('A call that shares a result', () => {
  let redis: Redis;
  before(() => {
    redis = connectRedis();
  });
  after(() => redis.disconnect());

  const large = 'x'.repeat(100_000);

  it('gets one of any size in the memory of the process', async () => {
    const flights = new Flights([memory]);
    const calls = flights.call(3);
    await flights.areWaiting(2);
    flights.gates[0]?.resolve(large);

    expect(await Promise.all(calls)).to.deep.equal([large, large, large]);
    expect(flights.runs).to.equal(1);
  });

  it('does the work itself if the result is too large for a datastore, one call after another', async () => {
    const flights = new Flights([new RedisCache(redis)]);
    const calls = flights.call(3);
    await flights.areWaiting(2);
    for (const gate of flights.gates) gate.resolve(large);

    expect(await Promise.all(calls)).to.deep.equal([large, large, large]);
    expect(flights.runs).to.equal(3);
  });

  it('does the work itself if the result has no copy: what contains itself, a BigInt', async () => {
    const itself: unknown[] = [];
    itself.push(itself);
    for (const result of [itself, 1n]) {
      const flights = new Flights([memory]);
      const calls = flights.call(3);
      await flights.areWaiting(2);
      for (const gate of flights.gates) gate.resolve(result);

      for (const one of await Promise.all(calls)) expect(one).to.equal(result);
      expect(flights.runs).to.equal(3);
    }
  });

  it('does the work when the holder has crashed, and its lease has ended', async () => {
    const cache = new RedisCache(redis);
    const key = uniqueName('k');
    const crashed = enterStep({ storedKey: `once::1:default:${key}`, line: 'together', ttl: 500 });
    await cache.enter([crashed]);
    const guarded = once(() => 'worked', { key, whenLocked: 'share', cache });

    const startedAt = performance.now();
    expect(await Promise.all([guarded(), guarded(), guarded()])).to.deep.equal([
      'worked',
      'worked',
      'worked',
    ]);
    expect(performance.now() - startedAt).to.be.below(3000);
  });

  it('says so by its event', async () => {
    const events: LockEvent[] = [];
    const gate = deferred();
    const options = {
      key: uniqueName('k'),
      whenLocked: 'share',
      onEvent: (event: LockEvent) => events.push(event),
    };
    const guarded = once(() => gate.promise, options as OnceOptions);
    const calls = [guarded(), guarded()];
    await until(() => events.length > 0);
    gate.resolve();
    await Promise.all(calls);

    expect(events.map(({ type }) => type)).to.have.members(['acquired', 'released', 'shared']);
    const shared = events.find(({ type }) => type === 'shared');
    expect(shared).to.have.nested.property('holder.state', 'done');
    expect(shared).to.have.nested.property('holder.owner', events[0]?.owner);
  });

  it('needs one place, and a cache that keeps results', () => {
    const fn = async () => {};
    const lines = { enter() {}, leave() {}, lines() {}, strikeOut() {} };
    const cache = { acquire() {}, renew() {}, release() {}, inspect() {}, ...lines } as never as LockCache;

    for (const [of, wrap] of [
      ['once', (options: object) => once(fn, { key: 'k', ...options })],
      ['onceProcessor', (options: object) => onceProcessor(fn, options)],
    ] as const) {
      expect(() => wrap({ whenLocked: 'share', concurrency: 2 })).to.throw(
        TypeError,
        `${of}: options 'concurrency: 2' and 'whenLocked: 'share'' contradict each other`,
      );
      expect(() => wrap({ whenLocked: 'share', cache })).to.throw(
        TypeError,
        `${of}: option 'whenLocked' needs a cache with the method 'results', and the option 'cache' has none`,
      );
    }
  });
});
