import {
  DelayedError,
  type Job,
  RateLimitError,
  UnrecoverableError,
  WaitingChildrenError,
  WaitingError,
} from 'bullmq';
import { expect } from 'chai';
import {
  type HeldLock,
  type Holder,
  Lock,
  LockError,
  MemoryCache,
  onceProcessor,
  RedisCache,
} from '../../src/index.ts';
import { Bench, setups } from '../support/bullmq.ts';
import { Child } from '../support/child.ts';
import { connectRedis, deferred, redisOptions, uniqueName, until } from '../support/index.ts';

const redis = () => connection;
let connection: ReturnType<typeof connectRedis>;
before(() => {
  connection = connectRedis();
});
after(() => connection.disconnect());

for (const setup of setups) {
  describe(`onceProcessor on ${setup.name}`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    it('runs a job whose key is free, with job, token and lock, and frees the key', async () => {
      const calls: unknown[][] = [];
      const heldDuring: (Holder | undefined)[] = [];
      await bench.worker(
        onceProcessor(
          async (job: Job<{ id: number }>, token, signal, lock) => {
            calls.push([job.data.id, typeof token, signal?.aborted, lock.held, lock.key]);
            heldDuring.push(await bench.holder('k-1'));
            return { done: job.data.id };
          },
          { key: 'k-{id}' },
        ),
      );

      const result = await bench.result(await bench.add({ id: 1 }));

      expect(result).to.deep.equal({ done: 1 });
      expect(calls).to.deep.equal([[1, 'string', false, true, 'k-1']]);
      expect(heldDuring[0]).to.include({ state: 'running', key: bench.storedName('k-1') });
      expect(await bench.holder('k-1')).to.equal(undefined);
    });

    it('skips a duplicate: it completes with no result, and its work does not run', async () => {
      const gate = deferred();
      const ran: unknown[] = [];
      await bench.worker(
        onceProcessor(
          async (job: Job) => {
            ran.push(job.id);
            await gate.promise;
            return 'worked';
          },
          { key: 'k-{id}' },
        ),
        { concurrency: 5 },
      );
      const first = await bench.add({ id: 1 });
      await until(() => ran.length === 1);

      const duplicate = await bench.result(await bench.add({ id: 1 }));
      gate.resolve();

      expect(duplicate).to.equal(null);
      expect(await bench.result(first)).to.equal('worked');
      expect(ran).to.deep.equal([first.id]);
    });

    it('fails a duplicate under raiseIfLock, with attempts and backoff as BullMQ has them', async () => {
      const gate = deferred();
      const ran: unknown[] = [];
      const failures: Error[] = [];
      const worker = await bench.worker(
        onceProcessor(
          async (job: Job) => {
            ran.push(job.id);
            if (ran.length === 1) await gate.promise;
          },
          { key: 'k-{id}', raiseIfLock: true },
        ),
        { concurrency: 5 },
      );
      worker.on('failed', (_job, error) => failures.push(error));
      const first = await bench.add({ id: 1 });
      await until(() => ran.length === 1);

      const duplicate = await bench.add({ id: 1 }, { attempts: 100, backoff: { type: 'fixed', delay: 50 } });
      await until(() => failures.length === 1);
      gate.resolve();
      await bench.result(duplicate);

      const error = failures[0] as LockError;
      expect(error).to.be.instanceOf(LockError);
      expect(error).to.include({ code: 'ERR_LOCK_HELD', key: 'k-1' });
      expect(error.holder).to.include({ state: 'running' });
      expect(error.holder.owner).to.match(new RegExp(`:${first.id}@\\d+$`));
      expect(error.holder.expiresIn).to.be.within(1, 30_000);
      expect(error.message).to.match(/^lock 'k-1' is held by .* for another \d+\.\d s$/);
      expect(ran).to.deep.equal([first.id, duplicate.id]);
    });

    it('lets a duplicate that has no attempts left fail for good', async () => {
      const gate = deferred();
      let running = false;
      await bench.worker(
        onceProcessor(
          async () => {
            running = true;
            await gate.promise;
          },
          { key: 'k', raiseIfLock: true },
        ),
        { concurrency: 2 },
      );
      const first = await bench.add({});
      await until(() => running);

      const failure = await bench.failure(await bench.add({}));
      gate.resolve();
      await bench.result(first);

      expect(failure).to.match(/^lock 'k' is held by/);
    });

    it('needs no options: the key is then the name of the job and all of its data', async () => {
      const gate = deferred();
      const ran: unknown[] = [];
      await bench.worker(
        onceProcessor(async (job: Job) => {
          ran.push(job.id);
          await gate.promise;
        }),
        { concurrency: 5 },
      );
      const one = await bench.add({ a: 1, b: 2 });
      await until(() => ran.length === 1);

      const same = await bench.result(await bench.add({ b: 2, a: 1 }));
      const another = await bench.add({ a: 1, b: 3 });
      await until(() => ran.length === 2);
      gate.resolve();
      await Promise.all([bench.result(one), bench.result(another)]);

      expect(same).to.equal(null);
      expect(ran).to.deep.equal([one.id, another.id]);
    });

    if (setup.onRedis) {
      it('opens no connection of its own', async () => {
        const { worker, gate } = await holding(bench);
        const list = async () => ((await redis().client('LIST')) as string).split('\n').length;
        const during = await list();
        gate.resolve();
        await bench.result(worker.job);

        const other = await Bench.open(setup);
        const before = await list();
        await other.worker(async () => 1);
        const bareNeeds = (await list()) - before;
        await other.result(await other.add({}));
        await other.close();

        const guarded = await Bench.open(setup);
        const beforeGuarded = await list();
        await guarded.worker(onceProcessor(async () => 1, { key: 'k' }));
        await guarded.result(await guarded.add({}));
        const guardedNeeds = (await list()) - beforeGuarded;
        await guarded.close();

        expect(guardedNeeds).to.equal(bareNeeds);
        expect(during).to.be.above(0);
      });
    }

    it('lets errors of the processor out as they are, and frees the key', async () => {
      const thrown: Error[] = [];
      const seen: Error[] = [];
      class OwnError extends Error {}
      const worker = await bench.worker(
        onceProcessor(
          async () => {
            const error = thrown.length === 0 ? new OwnError('a') : new UnrecoverableError('no more');
            thrown.push(error);
            throw error;
          },
          { key: 'k' },
        ),
      );
      worker.on('failed', (_job, error) => seen.push(error));

      const failure = await bench.failure(await bench.add({}, { attempts: 5 }));

      await until(() => seen.length === 2);
      expect(failure).to.equal('no more');
      expect(seen).to.have.length(2);
      expect(seen[0]).to.equal(thrown[0]);
      expect(seen[1]).to.equal(thrown[1]);
      expect(await bench.holder('k')).to.equal(undefined);
    });

    it('lets a job that failed run again: it is not its own duplicate', async () => {
      let runs = 0;
      await bench.worker(
        onceProcessor(
          async () => {
            if (++runs < 3) throw new Error('not yet');
            return runs;
          },
          { key: 'k', raiseIfLock: true },
        ),
      );

      expect(await bench.result(await bench.add({}, { attempts: 3 }))).to.equal(3);
    });

    it('lets the control flow of BullMQ pass, and frees the key', async () => {
      const runs: string[] = [];
      await bench.worker(
        onceProcessor(
          async (job: Job<{ step: string }>, token) => {
            const again = runs.includes(job.data.step);
            runs.push(job.data.step);
            if (again) return 'second run';
            if (job.data.step === 'delay') {
              await job.moveToDelayed(Date.now() + 20, token);
              throw new DelayedError();
            }
            if (job.data.step === 'wait') {
              await job.moveToWait(token);
              throw new WaitingError();
            }
            await bench.queue.rateLimit(20);
            throw new RateLimitError();
          },
          { key: 'k-{step}', raiseIfLock: true },
        ),
        { limiter: { max: 100, duration: 1000 } },
      );

      for (const step of ['delay', 'wait', 'limit']) {
        const job = await bench.add({ step });
        expect(await bench.result(job), step).to.equal('second run');
        expect((await bench.queue.getJob(job.id as string))?.attemptsMade, step).to.equal(1);
        expect(await bench.holder(`k-${step}`), step).to.equal(undefined);
      }
    });

    it('lets a job wait for its children', async () => {
      const children = await Bench.open(setup);
      await children.worker(async () => 'child');
      let runs = 0;
      await bench.worker(
        onceProcessor(
          async (job: Job, token) => {
            if (++runs > 1) return Object.values(await job.getChildrenValues());
            const parent = { id: job.id as string, queue: job.queueQualifiedName };
            await children.queue.add('child', {}, { parent });
            if (await job.moveToWaitingChildren(token as string)) throw new WaitingChildrenError();
            return 'the child was faster';
          },
          { key: 'k' },
        ),
      );

      const result = await bench.result(await bench.add({}));
      await children.close();

      expect(result).to.deep.equal(['child']);
      expect(await bench.holder('k')).to.equal(undefined);
    });

    it('computes the key once: changed data do not keep the key from being freed', async () => {
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

    it('fails a job of which no key can be built, without running it', async () => {
      let runs = 0;
      const fn = async () => {
        runs++;
      };
      await bench.worker(onceProcessor(fn, { key: 'k-{user.id}' }));

      const failure = await bench.failure(await bench.add({ user: { name: 'x' } }));

      expect(failure).to.equal("lock key 'k-{user.id}': 'user' in the job's data has no 'id' (it has: name)");
      expect(runs).to.equal(0);
      expect(await bench.storedNames()).to.deep.equal([]);
    });

    it('keeps the key as done for keepFor after a success, and not after a failure', async () => {
      let runs = 0;
      await bench.worker(
        onceProcessor(
          async (job: Job<{ fail: boolean }>) => {
            runs++;
            if (job.data.fail) throw new Error('failed');
            return 'worked';
          },
          { key: 'k', keepFor: 60_000 },
        ),
      );

      expect(await bench.failure(await bench.add({ fail: true }))).to.equal('failed');
      expect(await bench.result(await bench.add({ fail: false }))).to.equal('worked');
      expect(await bench.result(await bench.add({ fail: false }))).to.equal(null);

      expect(runs).to.equal(2);
      const holder = await bench.holder('k');
      expect(holder?.state).to.equal('done');
      expect(holder?.expiresIn).to.be.within(1, 60_000);
    });

    it('tells a job that hangs for longer than maxHold, and lets others in when its lease has ended', async () => {
      const runs: AbortSignal[] = [];
      const gate = deferred();
      await bench.worker(
        onceProcessor(
          async (_job: Job, _token, signal) => {
            runs.push(signal as AbortSignal);
            if (runs.length === 1) await gate.promise;
            return runs.length;
          },
          { key: 'k', ttl: 1000, maxHold: 500 },
        ),
        { concurrency: 2 },
      );
      const hanging = await bench.add({});
      await until(() => runs[0]?.aborted);
      const leftToEnd = await bench.holder('k');

      await until(async () => (await bench.holder('k')) === undefined);
      const next = await bench.result(await bench.add({}));
      gate.resolve();

      expect(runs[0]?.reason).to.include({ code: 'ERR_LOCK_LOST', why: 'overdue' });
      expect(leftToEnd?.state).to.equal('running');
      expect(next).to.equal(2);
      expect(await bench.result(hanging)).to.equal(2);
    });

    it('renews while the job runs: three ttl later it is still exclusive', async () => {
      const gate = deferred();
      let runs = 0;
      let lock: HeldLock | undefined;
      await bench.worker(
        onceProcessor(
          async (_job, _token, _signal, own) => {
            runs++;
            lock = own;
            await gate.promise;
          },
          { key: 'k', ttl: 500 },
        ),
        { concurrency: 2 },
      );
      const first = await bench.add({});
      await until(() => lock?.held);
      const end = performance.now() + 1500;
      await until(() => performance.now() > end);

      const duplicate = await bench.result(await bench.add({}));
      expect(lock).to.include({ held: true });
      expect(lock?.signal.aborted).to.equal(false);
      gate.resolve();
      await bench.result(first);

      expect(duplicate).to.equal(null);
      expect(runs).to.equal(1);
    });

    it('aborts the signal when BullMQ cancels the job', async () => {
      const started = deferred();
      const worker = await bench.worker(
        onceProcessor(
          async (_job, _token, signal, lock) => {
            started.resolve();
            await new Promise((_resolve, reject) => {
              signal?.addEventListener('abort', () =>
                reject(new Error(`cancelled: ${signal.reason}, ${lock.held}`)),
              );
            });
          },
          { key: 'k' },
        ),
      );
      const job = await bench.add({});
      await started.promise;

      worker.cancelJob(job.id as string, 'no longer wanted');

      expect(await bench.failure(job)).to.equal('cancelled: no longer wanted, true');
    });

    it('leaves no lock behind when the worker closes in the middle of a job', async () => {
      const { worker, gate } = await holding(bench);

      const closed = worker.worker.close();
      gate.resolve();
      await closed;

      expect(await bench.holder('k')).to.equal(undefined);
    });

    it('harms nothing when the worker is closed by force', async () => {
      const unhandled: unknown[] = [];
      const note = (reason: unknown) => unhandled.push(reason);
      process.on('unhandledRejection', note);
      const { worker, gate } = await holding(bench);

      await worker.worker.close(true);
      gate.resolve();
      await new Promise(resolve => setTimeout(resolve, 100));

      process.off('unhandledRejection', note);
      expect(unhandled).to.deep.equal([]);
    });
  });
}

describe('onceProcessor', () => {
  let bench: Bench;
  beforeEach(async () => {
    bench = await Bench.open();
  });
  afterEach(() => bench.close());

  it('declares a signal only where the processor wants one', () => {
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

  it('gives a rising fence', async () => {
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

  it('does not swallow a LockError of another key that the processor raises', async () => {
    const cache = new MemoryCache();
    const other = new Lock('other', { cache });
    await other.acquire();
    await bench.worker(onceProcessor(() => new Lock('other', { cache }).run(() => 'ran'), { key: 'k' }));

    expect(await bench.failure(await bench.add({}))).to.match(/^lock 'other' is held by/);
  });

  it('lets the lock go early when the processor does', async () => {
    let free: Holder | undefined | 'not asked' = 'not asked';
    await bench.worker(
      onceProcessor(
        async (_job, _token, _signal, lock) => {
          expect(await lock.release()).to.equal(true);
          expect(await lock.release()).to.equal(false);
          free = await bench.holder('k');
          return lock.held;
        },
        { key: 'k' },
      ),
    );

    expect(await bench.result(await bench.add({}))).to.equal(false);
    expect(free).to.equal(undefined);
  });

  it('is not disturbed by jobs whose ids look like its keys', async () => {
    const ids = ['once:1:k', 'once:a:b'];
    await bench.worker(onceProcessor(async () => 'ran', { key: 'k' }));

    for (const jobId of ids) expect(await bench.result(await bench.add({}, { jobId }))).to.equal('ran');
  });

  it('keeps its keys through removeOrphanedJobs, drain and clean', async () => {
    const { worker, gate } = await holding(bench);

    const removed = await bench.queue.removeOrphanedJobs();
    await bench.queue.drain(true);
    await bench.queue.clean(0, 1000, 'completed');

    expect(removed).to.equal(0);
    expect((await bench.holder('k'))?.state).to.equal('running');
    gate.resolve();
    await bench.result(worker.job);
  });

  describe('with a scope', () => {
    it('shares its locks with other queues; without one it does not', async () => {
      const other = await Bench.open();
      const scope = uniqueName('scope');
      for (const shared of [true, false]) {
        const gate = deferred();
        const ran: string[] = [];
        const options = { key: 'k', ...(shared ? { scope } : {}) };
        const worker = async (on: Bench) => {
          const fn = async (job: Job) => {
            ran.push(job.queueName);
            await gate.promise;
          };
          return on.worker(onceProcessor(fn, options));
        };
        const workers = [await worker(bench), await worker(other)];
        const first = await bench.add({});
        await until(() => ran.length === 1);

        const second = await other.add({});
        if (shared) expect(await other.result(second)).to.equal(null);
        else await until(() => ran.length === 2);
        gate.resolve();
        await Promise.all([bench.result(first), other.result(second)]);

        expect(ran).to.have.length(shared ? 1 : 2);
        await Promise.all(workers.map(one => one.close()));
      }
      await other.close();
    });
  });

  describe('with a cache of its own', () => {
    for (const [name, make] of [
      ['a MemoryCache', () => new MemoryCache()],
      ['a Map', () => new Map()],
      ['a RedisCache', () => new RedisCache(redis())],
    ] as const) {
      it(`skips duplicates, and has let go before the completion is known: ${name}`, async () => {
        const cache = make();
        let runs = 0;
        const gate = deferred();
        await bench.worker(
          onceProcessor(
            async () => {
              if (++runs === 1) await gate.promise;
              return runs;
            },
            { key: 'k', cache },
          ),
          { concurrency: 4 },
        );
        const first = await bench.add({});
        await until(() => runs === 1);

        expect(await bench.result(await bench.add({}))).to.equal(null);
        gate.resolve();
        expect(await bench.result(first)).to.equal(1);
        for (let i = 2; i < 30; i++) expect(await bench.result(await bench.add({}))).to.equal(i);
      });
    }

    it('has not finished before the cache has let go', async () => {
      const gate = deferred();
      const asked = deferred();
      class Slow extends MemoryCache {
        override async release(leases: Parameters<MemoryCache['release']>[0]): Promise<boolean[]> {
          asked.resolve();
          await gate.promise;
          return super.release(leases);
        }
      }
      const cache = new Slow();
      await bench.worker(onceProcessor(async () => 'ran', { key: 'k', cache }));
      const job = await bench.add({});

      await asked.promise;
      // Were it not waited for, the completion would be with the server before this.
      await bench.queue.getJobCounts();
      await redis().ping();
      const state = await job.getState();
      gate.resolve();

      expect(state).to.equal('active');
      expect(await bench.result(job)).to.equal('ran');
    });

    it('renews and is released on time where another claim of the same turn fails', async () => {
      const cache = new Map<string, unknown>([[`bull:${bench.queueName}::once:1:k-1`, 'not a lock']]);
      await bench.worker(
        onceProcessor(async () => 'ran', { key: 'k-{id}', cache }),
        { concurrency: 4 },
      );

      const jobs = await Promise.all([1, 2, 3].map(id => bench.add({ id })));

      expect(await Promise.all(jobs.map(job => bench.result(job)))).to.deep.equal([null, 'ran', 'ran']);
    });
  });

  describe('as a decorator', () => {
    it("guards a method, which keeps its this and is given the lock's signal", async () => {
      class Emails {
        readonly sent: unknown[] = [];

        @onceProcessor({ key: 'welcome-{userId}' })
        async process(
          job: Job<{ userId: number }>,
          _token?: string,
          signal?: AbortSignal,
        ): Promise<string | undefined> {
          this.sent.push(signal instanceof AbortSignal && job.data.userId);
          await gate.promise;
          return 'sent';
        }
      }
      const gate = deferred();
      const emails = new Emails();
      const bench = await Bench.open();
      await bench.worker(emails.process.bind(emails) as never, { concurrency: 2 });

      const first = await bench.add({ userId: 42 });
      await until(() => emails.sent.length === 1);
      const duplicate = await bench.add({ userId: 42 });

      expect(await bench.result(duplicate)).to.equal(null);
      gate.resolve();
      expect(await bench.result(first)).to.equal('sent');
      expect(emails.sent).to.deep.equal([42]);
      await bench.close();
    });

    it('refuses wrong options where they are written, and what is no method', () => {
      expect(() => onceProcessor({ key: '{' } as never)).to.throw(TypeError, 'is never closed');
      const decorate = onceProcessor({ key: 'k' }) as unknown as (...args: unknown[]) => unknown;
      expect(() => decorate(undefined, { kind: 'field' })).to.throw(
        TypeError,
        '@onceProcessor decorates methods',
      );
      expect(() => onceProcessor(undefined as never)).to.throw(
        TypeError,
        'must be a function, not undefined',
      );
    });
  });

  describe('set up in a way that can hardly be meant', () => {
    const warningsOf = async (given: object) => {
      const orders = { connection: redisOptions(), queueName: uniqueName('queue'), options: {}, ...given };
      const child = new Child('mistakes.ts', orders);
      await child.hears('ended');
      await child.ended();
      return child.told.filter(({ event }) => event === 'warning');
    };

    it('warns of a ttl far below the lockDuration, once a process', async () => {
      const [warning, ...others] = await warningsOf({ options: { ttl: 1000 } });

      expect(warning).to.include({ code: 'ONCE_SHORT_TTL' });
      expect(warning?.message).to.match(/ttl is 1000 ms and the worker's lockDuration 30000 ms/);
      expect(others).to.deep.equal([]);
    });

    it('warns of locks in memory in production, and nowhere else', async () => {
      const [warning, ...others] = await warningsOf({ inMemory: true, env: 'production' });
      const elsewhere = await warningsOf({ inMemory: true, env: 'test' });

      expect(warning).to.include({ code: 'ONCE_IN_MEMORY' });
      expect([...others, ...elsewhere]).to.deep.equal([]);
    });
  });

  describe('told a wrong option', () => {
    const fn = async () => {};
    for (const [options, problem] of [
      [{ ket: 'x' }, /no option 'ket'; there are: .*key/],
      [{ key: 42 }, /option 'key' must be a template .* or a function of the job, not number/],
      [{ key: 'k-{' }, /is never closed/],
      [{ raiseIfLock: 'yes' }, /'raiseIfLock' must be true or false, not 'yes'/],
      [{ ttl: 0 }, /'ttl' must be a whole number of milliseconds, 10 or more, not 0/],
      [{ ttl: -5 }, /'ttl'/],
      [{ ttl: 1.5 }, /'ttl'/],
      [{ ttl: Number.POSITIVE_INFINITY }, /'ttl'/],
      [{ ttl: '30s' }, /'ttl' must be .* not '30s'/],
      [{ keepFor: -1 }, /'keepFor' must be a whole number of milliseconds, 0 or more, not -1/],
      [{ maxHold: 9 }, /'maxHold' must be a whole number of milliseconds, 10 or more, not 9/],
      [{ maxHold: '1m' }, /'maxHold' must be .* not '1m'/],
      [{ scope: '' }, /'scope' must be a text that is not empty/],
      [
        { cache: { get() {}, set() {} } },
        /option 'cache': a store needs get, set and delete .* has no delete \(or del\)/,
      ],
      [{ cache: { acquire() {}, renew() {} } }, /option 'cache': the lock cache has no release, no inspect/],
      [{ cache: null }, /option 'cache' must be a cache, not null/],
      [{ cache: 7 }, /option 'cache' must be a cache, not number/],
      ['k-{id}', /the options must be an object/],
    ] as const) {
      it(`refuses it where it is written: ${typeof options === 'string' ? options : Object.entries(options)[0]}`, () => {
        expect(() => onceProcessor(fn, options as never)).to.throw(TypeError, problem);
      });
    }

    it('refuses what is no function', () => {
      expect(() => onceProcessor('./processor.js' as never)).to.throw(
        TypeError,
        /must be a function, not string/,
      );
    });
  });

  it('fails the job when the cache is a name that nobody registered', async () => {
    await bench.worker(onceProcessor(async () => 'ran', { key: 'k', cache: 'nowhere' }));

    expect(await bench.failure(await bench.add({}))).to.match(/no cache is named 'nowhere' \(named are: /);
  });

  describe('where the key is held by the job itself', () => {
    const job = (attemptsStarted: number) =>
      ({
        id: '17',
        name: 'job',
        data: {},
        timestamp: 1,
        attemptsStarted,
        queueName: 'emails',
        queueQualifiedName: 'bull:emails',
      }) as Job;

    it('completes without a second run when its work was done, also under raiseIfLock', async () => {
      let runs = 0;
      const cache = new MemoryCache();
      const guarded = onceProcessor(async () => ++runs, {
        key: 'k',
        keepFor: 60_000,
        raiseIfLock: true,
        cache,
      });

      expect(await guarded(job(1))).to.equal(1);
      expect(await guarded(job(2))).to.equal(undefined);
      expect(await guarded({ ...job(1), id: '18' } as Job).catch(error => error.code)).to.equal(
        'ERR_LOCK_HELD',
      );
      expect(runs).to.equal(1);
    });

    it('is never skipped for a newer run of itself: an older one fails instead', async () => {
      const gate = deferred();
      const cache = new MemoryCache();
      const guarded = onceProcessor(() => gate.promise.then(() => 'ran'), { key: 'k', cache });
      const newer = guarded(job(2));

      const older = await guarded(job(1)).catch(error => error);
      gate.resolve();

      expect(older).to.be.instanceOf(LockError);
      expect(await newer).to.equal('ran');
    });
  });

  it('gives a signal to a processor that wants one, where BullMQ gives none', async () => {
    const cache = new MemoryCache();
    const guarded = onceProcessor(async (_job, _token, signal) => signal?.aborted, { key: 'k', cache });
    const job = {
      id: '1',
      name: 'job',
      data: {},
      timestamp: 1,
      queueName: 'q',
      queueQualifiedName: 'bull:q',
    } as Job;

    expect(await guarded(job)).to.equal(false);
  });

  it("does not let an older job's retry free the key of a newer one", async () => {
    const gate = deferred();
    const ran: unknown[] = [];
    await bench.worker(
      onceProcessor(
        async (job: Job<{ n: number }>) => {
          ran.push(job.data.n);
          if (job.data.n === 1) throw new Error('failed');
          await gate.promise;
        },
        { key: 'k' },
      ),
      { concurrency: 2 },
    );
    const older = await bench.add({ n: 1 }, { attempts: 2, backoff: { type: 'fixed', delay: 300 } });
    await until(() => ran.length === 1);
    const newer = await bench.add({ n: 2 });
    await until(() => ran.length === 2);

    const retried = await bench.result(older);
    const holder = await bench.holder('k');
    gate.resolve();
    await bench.result(newer);

    expect(retried).to.equal(null);
    expect(holder?.owner).to.match(new RegExp(`:${newer.id}@`));
    expect(ran).to.deep.equal([1, 2]);
  });

  it('runs twenty jobs of one key that retry later, each once, and never two at once', async () => {
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

    const jobs = await Promise.all(
      Array.from({ length: 20 }, () =>
        bench.add({}, { attempts: 10_000, backoff: { type: 'fixed', delay: 20, jitter: 0.5 } }),
      ),
    );
    await Promise.all(jobs.map(job => bench.result(job)));

    expect(most).to.equal(1);
    expect([...ran].sort()).to.deep.equal(jobs.map(({ id }) => id).sort());
    expect(await bench.queue.getJobCountByTypes('wait', 'active', 'delayed', 'failed')).to.equal(0);
  });

  it('says what to pass where the job has no connection, as in a sandbox', async () => {
    const job = {
      id: '1',
      name: 'job',
      data: {},
      timestamp: 1,
      queueName: 'emails',
      queueQualifiedName: 'bull:emails',
    };

    const error = await onceProcessor(async () => 'ran')(job as Job).catch(reason => reason as Error);
    const withCache = await onceProcessor(async () => 'ran', { cache: new MemoryCache() })(job as Job);

    expect(String(error)).to.match(
      /job 1 of emails came without a connection to its queue.*cache: new RedisCache/,
    );
    expect(withCache).to.equal('ran');
  });
});

/** A job under way that holds the key `k`. */
async function holding(bench: Bench) {
  const gate = deferred();
  let running = false;
  const worker = await bench.worker(
    onceProcessor(
      async () => {
        running = true;
        await gate.promise;
      },
      { key: 'k' },
    ),
  );
  const job = await bench.add({});
  await until(() => running);
  return { worker: { worker, job }, gate };
}
