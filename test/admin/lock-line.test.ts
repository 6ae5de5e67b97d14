/** Operators see the lines of keys: who holds one beside the lock that is shown, and who is parked for it. */

import type { Job } from 'bullmq';
import { expect } from 'chai';
import { toLockCache } from '../../src/cache/registry.ts';
import { enterStep, leaveStep } from '../../src/conformance/lines.ts';
import {
  type EnterStep,
  type LineQuery,
  type LockCache,
  type LockInfo,
  locksOf,
  MemoryCache,
  onceProcessor,
  RedisCache,
} from '../../src/index.ts';
import { scopedName } from '../../src/key/stored-name.ts';
import { Bench, oneOfEachKind, setupNamed } from '../support/bullmq.ts';
import { connectRedis, deferred, rejection, uniqueName, until } from '../support/index.ts';

async function all(locks: AsyncIterable<LockInfo>): Promise<LockInfo[]> {
  const found: LockInfo[] = [];
  for await (const lock of locks) found.push(lock);
  return found.sort((a, b) => a.fence - b.fence);
}

/** Asks for a place of the key `k` of a scope, or to be parked for it. */
function stepOn(scope: string, given: Partial<EnterStep> = {}): EnterStep {
  return enterStep({ storedKey: scopedName(scope, 'k'), attempt: 1, line: 'all', ...given });
}

for (const setup of [...oneOfEachKind, setupNamed('BullMQ 6 on a Redis Cluster')]) {
  describe(`The line of a key of a queue, on ${setup.name}`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    it('is shown with each holder: how many hold the key, how many are parked, and who is next', async () => {
      const gate = deferred();
      const processor = onceProcessor(() => gate.promise, {
        key: 'k-{id}',
        whenLocked: 'in-order',
        concurrency: 2,
      });
      await bench.worker(processor, { concurrency: 10 });
      const jobs: Job[] = [];
      for (let i = 0; i < 5; i++) jobs.push(await bench.addInTurn({ id: 'a' }));
      const alone = await bench.add({ id: 'b' });
      await until(async () => (await bench.queue.getDelayedCount()) === 3);
      await until(async () => (await bench.holder('k-b')) !== undefined);

      const admin = locksOf(bench.queue);
      const shared = await all(admin.list({ startsWith: 'k-a' }));
      const one = await admin.get('k-a');
      const other = await admin.get('k-b');
      gate.resolve();
      for (const job of [...jobs, alone]) await bench.ended(job);

      const [first, second, third] = jobs.map(({ id }) => id);
      expect(shared.map(({ jobId }) => jobId)).to.deep.equal([first, second]);
      for (const lock of [...shared, one]) {
        expect(lock?.line).to.include({ held: 2, parked: 3 });
        expect(lock?.line?.next).to.include({ jobId: third, queueName: bench.queueName });
      }
      expect(other).to.include({ jobId: alone.id }).and.not.to.have.property('line');
    });

    it('goes on after a forced release: the next job is promoted', async () => {
      // Nobody comes back by itself while this test may take.
      const { job, ran, finish } = await bench.hold({ whenLocked: 'in-order', ttl: 120_000 });
      const parked = [await bench.addInTurn({}), await bench.addInTurn({})] as const;
      await until(async () => (await bench.queue.getDelayedCount()) === 2);

      const isReleased = await locksOf(bench.queue).forceRelease('k');
      for (const one of parked) await bench.reaches(one, 'completed');
      await finish();

      expect(isReleased).to.equal(true);
      expect(ran).to.deep.equal([job.id, parked[0].id, parked[1].id]);
    });
  });
}

describe('The line of a key, after a forced release', () => {
  let bench: Bench;
  beforeEach(async () => {
    bench = await Bench.open();
  });
  afterEach(() => bench.close());

  it('goes on by itself, where the admin has no queue that could promote', async () => {
    const { job, ran, finish } = await bench.hold({ whenLocked: 'in-order', ttl: 1000 });
    const parked = await bench.add({});
    await bench.reaches(parked, 'delayed');

    const { name, qualifiedName } = bench.queue;
    await locksOf({ name, qualifiedName }, { cache: bench.cache }).forceRelease('k');
    await bench.reaches(parked, 'completed');
    await finish();

    expect(ran).to.deep.equal([job.id, parked.id]);
  });

  it('promotes no other job that has the id of the parked one by now', async () => {
    const { finish } = await bench.hold({ whenLocked: 'in-order' });
    const parked = await bench.add({}, { jobId: 'mine' });
    await bench.reaches(parked, 'delayed');
    await parked.remove();
    const other = await bench.add({}, { jobId: 'mine', delay: 600_000, timestamp: parked.timestamp + 1 });

    await locksOf(bench.queue).forceRelease('k');

    expect(await other.getState()).to.equal('delayed');
    await finish();
  });
});

for (const [name, create] of [
  ['memory', () => ({ cache: new MemoryCache() })],
  ['a Map', () => ({ cache: new Map() })],
  [
    'Redis',
    () => {
      const redis = connectRedis();
      return { cache: new RedisCache(redis), close: () => redis.disconnect() };
    },
  ],
] as const satisfies readonly [string, () => { cache: object; close?: () => void }][]) {
  describe(`locksOf a cache with lines, in ${name}`, () => {
    const scope = uniqueName('scope');
    let close: (() => void) | undefined;
    let admin: ReturnType<typeof locksOf>;
    let cache: Required<Pick<LockCache, 'enter' | 'leave'>>;
    beforeEach(() => {
      const created: { cache: any; close?: () => void } = create();
      close = created.close;
      const shown = toLockCache(created.cache, 'cache');
      cache = shown as typeof cache;
      admin = locksOf(shown, { scope });
    });
    afterEach(() => close?.());

    it('shows who is next of a key that is free, and does not list it', async () => {
      const holder = stepOn(scope);
      const next = stepOn(scope, { owner: 'bull:emails:18@1790000000000' });
      await cache.enter([holder]);
      await cache.enter([next]);
      await cache.leave([leaveStep(holder)]);

      const lock = await admin.get('k');

      expect(lock).to.include({
        key: 'k',
        scope,
        state: 'parked',
        jobId: '18',
        queueName: 'emails',
        fence: 0,
      });
      expect(lock?.line).to.deep.equal({
        held: 0,
        parked: 1,
        next: { owner: next.owner, jobId: '18', queueName: 'emails' },
      });
      expect(await all(admin.list())).to.deep.equal([]);
      expect(await admin.forceRelease('k')).to.equal(false);
      await cache.enter([next]);
      await cache.leave([leaveStep(next)]);
      expect(await admin.get('k')).to.equal(undefined);
    });

    it('lists each of the holders of a key, and ends only the acquisition that was shown', async () => {
      const steps = [1, 2, 3].map(i => stepOn(scope, { places: 3, owner: `owner ${i}`, line: undefined }));
      for (const step of steps) await cache.enter([step]);

      const before = await all(admin.list());
      const isReleased = await admin.forceRelease(before[1] as LockInfo);
      const after = await all(admin.list());
      for (const step of steps) await cache.leave([leaveStep(step)]);

      expect(before.map(({ owner }) => owner)).to.deep.equal(['owner 1', 'owner 2', 'owner 3']);
      expect(before.map(({ line }) => line)).to.deep.equal(new Array(3).fill({ held: 3, parked: 0 }));
      expect(isReleased).to.equal(true);
      expect(after.map(({ owner }) => owner)).to.deep.equal(['owner 1', 'owner 3']);
    });
  });
}

describe('The lines of listed locks', () => {
  const scope = 'lines';

  async function cacheWithLine(): Promise<MemoryCache> {
    const cache = new MemoryCache();
    await cache.enter([stepOn(scope)]);
    await cache.enter([stepOn(scope)]);
    return cache;
  }

  it('are read in batches, of each key once', async () => {
    const cache = new MemoryCache();
    const keys = Array.from({ length: 150 }, (_, i) => `k-${i}`);
    const steps = keys.flatMap(key =>
      [1, 2, 3].map(() => stepOn(scope, { storedKey: scopedName(scope, key), places: 3 })),
    );
    await cache.enter(steps);
    const asked: string[][] = [];
    const lines = cache.lines.bind(cache);
    cache.lines = queries => {
      asked.push(queries.map(({ storedKey }) => storedKey));
      return lines(queries);
    };

    const found = await all(locksOf(cache, { scope }).list());

    expect(found.filter(({ line }) => line?.held === 3)).to.have.length(450);
    expect(asked.length).to.be.within(2, 5);
    for (const storedKeys of asked) expect(new Set(storedKeys).size).to.equal(storedKeys.length);
  });

  it('are no state to filter by: a key that is free is not listed', async () => {
    const { message } = await rejection(all(locksOf(new MemoryCache()).list({ state: 'parked' as never })));

    expect(message).to.include("must be 'running', 'reserved', 'done' or 'foreign', not 'parked'");
  });

  it('are not read of locks that a filter leaves out', async () => {
    const cache = await cacheWithLine();
    const asked: LineQuery[] = [];
    cache.lines = async queries => {
      asked.push(...queries);
      return queries.map(() => ({ held: 1, parked: 1, holds: false }));
    };

    expect(await all(locksOf(cache, { scope }).list({ startsWith: 'other' }))).to.deep.equal([]);
    expect(await all(locksOf(cache, { scope }).list({ state: 'done' }))).to.deep.equal([]);
    expect(asked).to.deep.equal([]);
  });

  for (const [why, lines] of [
    ['the cache has none', undefined],
    ['they are errors', async () => [new Error('the line is a value of another type')]],
    ['the cache fails', async () => Promise.reject(new Error('the cache is down'))],
  ] as const) {
    it(`are left out, and the locks are shown (${why})`, async () => {
      const cache: LockCache = Object.assign(await cacheWithLine(), { lines } as object);
      const admin = locksOf(cache, { scope });

      const found = [...(await all(admin.list())), await admin.get('k')];

      expect(found.map(lock => lock?.key)).to.deep.equal(['k', 'k']);
      for (const lock of found) expect(lock).not.to.have.property('line');
      expect(await admin.get('other')).to.equal(undefined);
      expect(await admin.forceRelease('k')).to.equal(true);
    });
  }
});
