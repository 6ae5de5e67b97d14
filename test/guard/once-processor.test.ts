/** What every job of a guarded processor goes through, on each datastore and by each client. */

import type { Job } from 'bullmq';
import { expect } from 'chai';
import { Lock, type LockHandle, type LockRecord, MemoryCache, onceProcessor } from '../../src/index.ts';
import { Bench, plainJob, setups } from '../support/bullmq.ts';
import { connectRedis, deferred, until } from '../support/index.ts';

for (const setup of setups) {
  describe(`A guarded job (${setup.name})`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    it('runs if its key is free, and its processor gets the job, a token, a signal and the lock', async () => {
      const calls: unknown[][] = [];
      await bench.worker(
        onceProcessor(
          async (job: Job<{ id: number }>, token, signal, lock) => {
            calls.push([job.data.id, typeof token, signal?.aborted, lock.held, lock.key]);
            return { done: job.data.id };
          },
          { key: 'k-{id}' },
        ),
      );

      const result = await bench.result(await bench.add({ id: 1 }));

      expect(result).to.deep.equal({ done: 1 });
      expect(calls).to.deep.equal([[1, 'string', false, true, 'k-1']]);
    });

    it('holds its key while it runs, and no longer', async () => {
      let during: LockRecord | undefined;
      await bench.worker(
        onceProcessor(
          async () => {
            during = await bench.holder('k-1');
          },
          { key: 'k-{id}' },
        ),
      );

      await bench.result(await bench.add({ id: 1 }));

      expect(during).to.include({ state: 'running', storedKey: bench.storedName('k-1') });
      expect(await bench.holder('k-1')).to.equal(undefined);
    });

    it('is skipped if its key is held: it completes with no result, and its work does not run', async () => {
      const first = await bench.hold({ key: 'k-{id}' }, { data: { id: 1 } });

      const duplicate = await bench.result(await bench.add({ id: 1 }));

      expect(duplicate).to.equal(null);
      expect(await first.finish()).to.equal('worked');
      expect(first.ran).to.deep.equal([first.job.id]);
    });

    it("has the job's name and all of its data as its key by default", async () => {
      const ran: unknown[] = [];
      const gate = deferred();
      await bench.worker(
        onceProcessor(async (job: Job) => {
          ran.push(job.id);
          if (ran.length === 1) await gate.promise;
        }),
        { concurrency: 5 },
      );
      const one = await bench.add({ a: 1, b: 2 });
      await until(() => ran.length === 1);

      const same = await bench.result(await bench.add({ b: 2, a: 1 }));
      const another = await bench.add({ a: 1, b: 3 });
      await bench.result(another);
      gate.resolve();
      await bench.result(one);

      expect(same).to.equal(null);
      expect(ran).to.deep.equal([one.id, another.id]);
    });

    it('releases its key although its data change while it runs', async () => {
      await bench.worker(
        onceProcessor(
          async (job: Job<{ id: number }>) => {
            await job.updateData({ id: 2 });
            job.data.id = 3;
          },
          { key: 'k-{id}' },
        ),
      );

      await bench.result(await bench.add({ id: 1 }));

      expect(await bench.storedNames()).to.deep.equal([]);
    });

    it('fails without running if no key can be built from its data', async () => {
      let runs = 0;
      await bench.worker(onceProcessor(async () => ++runs, { key: 'k-{user.id}' }));

      const failure = await bench.failure(await bench.add({ user: { name: 'x' } }));

      expect(failure).to.equal("lock key 'k-{user.id}': 'user' in the job's data has no 'id' (it has: name)");
      expect(runs).to.equal(0);
      expect(await bench.storedNames()).to.deep.equal([]);
    });

    it('keeps its key held, as done, for dedupeFor after a success', async () => {
      let runs = 0;
      await bench.worker(onceProcessor(async () => ++runs, { key: 'k', dedupeFor: 60_000 }));

      expect(await bench.result(await bench.add({}))).to.equal(1);
      expect(await bench.result(await bench.add({}))).to.equal(null);

      expect(runs).to.equal(1);
      const holder = await bench.holder('k');
      expect(holder?.state).to.equal('done');
      expect(holder?.expiresIn).to.be.within(1, 60_000);
    });

    it('releases its key after a failure, whatever dedupeFor is', async () => {
      const fn = async (job: Job<{ fail: boolean }>) => {
        if (job.data.fail) throw new Error('failed');
        return 'worked';
      };
      await bench.worker(onceProcessor(fn, { key: 'k', dedupeFor: 60_000 }));

      expect(await bench.failure(await bench.add({ fail: true }))).to.equal('failed');
      expect(await bench.result(await bench.add({ fail: false }))).to.equal('worked');
    });

    it('keeps its key while it runs, also for three ttl, because its lease is renewed', async () => {
      const gate = deferred();
      const started = deferred<LockHandle>();
      let runs = 0;
      await bench.worker(
        onceProcessor(
          async (_job, _token, _signal, lock) => {
            runs++;
            started.resolve(lock);
            await gate.promise;
          },
          { key: 'k', ttl: 500 },
        ),
        { concurrency: 2 },
      );
      const first = await bench.add({});
      const lock = await started.promise;
      await new Promise(resolve => setTimeout(resolve, 1500));

      const duplicate = await bench.result(await bench.add({}));
      expect(lock.held).to.equal(true);
      expect(lock.signal.aborted).to.equal(false);
      gate.resolve();
      await bench.result(first);

      expect(duplicate).to.equal(null);
      expect(runs).to.equal(1);
    });
  });
}

for (const setup of setups.filter(({ onRedis }) => onRedis)) {
  describe(`A worker with a guarded processor (${setup.name})`, () => {
    it('opens no more connections than one without', async () => {
      const redis = connectRedis();
      const connections = async () => {
        const list = (await redis.client('LIST')) as string;
        return new Set([...list.matchAll(/^id=(\d+)/gm)].map(([, id]) => id));
      };
      /** How many connections a worker opens for its first job. */
      const opened = async (processor: (job: Job, token?: string) => Promise<unknown>) => {
        const bench = await Bench.open(setup);
        // Now all is connected but the worker.
        const job = await bench.add({});
        const before = await connections();
        await bench.worker(processor);
        await bench.result(job);
        const after = await connections();
        await bench.close();
        return [...after].filter(id => !before.has(id)).length;
      };

      const bare = await opened(async () => 1);
      const guarded = await opened(onceProcessor(async () => 1, { key: 'k' }));
      redis.disconnect();

      expect(guarded).to.equal(bare);
      expect(bare).to.be.above(0);
    });
  });
}

describe('A guarded processor', () => {
  let bench: Bench;
  beforeEach(async () => {
    bench = await Bench.open();
  });
  afterEach(() => bench.close());

  it('declares a signal only if the function that it wraps does', () => {
    expect(onceProcessor(async () => {})).to.have.length(2);
    expect(onceProcessor(async (_job, _token) => {})).to.have.length(2);
    expect(onceProcessor(async (_job, _token, _signal) => {})).to.have.length(3);
    expect(onceProcessor(async (_job, _token, _signal, _lock) => {})).to.have.length(3);
  });

  it('keeps `this`, which is the worker', async () => {
    let self: unknown;
    const worker = await bench.worker(
      onceProcessor(async function (this: unknown) {
        self = this;
      }),
    );

    await bench.result(await bench.add({}));

    expect(self).to.equal(worker);
  });

  it('gives each job a higher fence than the last', async () => {
    const fences: number[] = [];
    await bench.worker(
      onceProcessor(
        async (_job, _token, _signal, lock) => {
          fences.push(lock.fence);
        },
        { key: 'k' },
      ),
    );

    for (let i = 0; i < 5; i++) await bench.result(await bench.add({}));

    expect(fences).to.deep.equal([...new Set(fences)].sort((a, b) => a - b));
    expect(fences).to.have.length(5);
  });

  it('fails its job with a LockError of another key that the work itself throws', async () => {
    const cache = new MemoryCache();
    await new Lock('other', { cache }).acquire();
    await bench.worker(onceProcessor(() => new Lock('other', { cache }).run(() => 'ran'), { key: 'k' }));

    expect(await bench.failure(await bench.add({}))).to.match(/^lock 'other' is held by/);
  });

  it('lets the work release its lock early', async () => {
    let holder: LockRecord | undefined | 'not asked' = 'not asked';
    await bench.worker(
      onceProcessor(
        async (_job, _token, _signal, lock) => {
          expect(await lock.release()).to.equal(true);
          expect(await lock.release()).to.equal(false);
          holder = await bench.holder('k');
          return lock.held;
        },
        { key: 'k' },
      ),
    );

    expect(await bench.result(await bench.add({}))).to.equal(false);
    expect(holder).to.equal(undefined);
  });

  it('gives a signal to a function that declares one, even if BullMQ gives none', async () => {
    const guarded = onceProcessor(async (_job, _token, signal) => signal?.aborted, {
      key: 'k',
      cache: new MemoryCache(),
    });

    expect(await guarded(plainJob('1'))).to.equal(false);
  });

  it('says what to pass if a job has no connection, as in a sandbox', async () => {
    const error = await onceProcessor(async () => 'ran')(plainJob('1')).catch(reason => reason as Error);

    expect(String(error)).to.match(
      /job 1 of emails came without a connection to its queue.*cache: new RedisCache/,
    );
  });

  it('needs no connection if it has a cache', async () => {
    const guarded = onceProcessor(async () => 'ran', { cache: new MemoryCache() });

    expect(await guarded(plainJob('1'))).to.equal('ran');
  });

  it('runs each of twenty jobs of one key that raise and retry, one at a time', async () => {
    const ran: unknown[] = [];
    let running = 0;
    let most = 0;
    await bench.worker(
      onceProcessor(
        async (job: Job) => {
          most = Math.max(most, ++running);
          await new Promise(resolve => setTimeout(resolve, 10));
          running--;
          ran.push(job.id);
        },
        { key: 'k', raiseIfLock: true },
      ),
      { concurrency: 10 },
    );

    const options = { attempts: 10_000, backoff: { type: 'fixed', delay: 20, jitter: 0.5 } };
    const jobs = await Promise.all(Array.from({ length: 20 }, () => bench.add({}, options)));
    await Promise.all(jobs.map(job => bench.result(job)));

    expect(most).to.equal(1);
    expect([...ran].sort()).to.deep.equal(jobs.map(({ id }) => id).sort());
    expect(await bench.queue.getJobCountByTypes('wait', 'active', 'delayed', 'failed')).to.equal(0);
  });
});
