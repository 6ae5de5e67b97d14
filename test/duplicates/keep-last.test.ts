import { DelayedError, type Job, type Worker } from 'bullmq';
import { expect } from 'chai';
import fc from 'fast-check';
import pg from 'pg';
import { type LockCache, onceProcessor, RedisCache } from '../../src/index.ts';
import { PostgresCache } from '../../src/postgres.ts';
import { Bench, oneOfEachKind, setupNamed } from '../support/bullmq.ts';
import { connectRedis, deferred, until } from '../support/index.ts';
import { sharedPostgres } from '../support/shared-servers.ts';

for (const setup of oneOfEachKind) {
  describe(`the newest of many duplicates, on ${setup.name}`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    it('waits, and runs as soon as the holder is done; those before it are skipped', async () => {
      const gate = deferred();
      const ran: unknown[] = [];
      await bench.worker(
        onceProcessor(
          async (job: Job<{ version: number }>) => {
            ran.push(job.data.version);
            if (ran.length === 1) await gate.promise;
            return job.data.version;
          },
          { key: 'k', whenLocked: 'keep-last' },
        ),
        { concurrency: 3 },
      );
      const first = await bench.add({ version: 1 });
      await until(() => ran.length === 1);
      const jobs: Job[] = [];
      for (let version = 2; version <= 6; version++) jobs.push(await bench.add({ version }));
      const newest = jobs.pop() as Job;
      await until(async () => (await bench.queue.getCompletedCount()) === jobs.length);
      expect(await newest.getState()).to.equal('delayed');

      // The lease of the holder ends in 30 s: it is called, and does not wait for that.
      gate.resolve();
      await until(async () => (await newest.getState()) === 'completed');

      expect(ran).to.deep.equal([1, 6]);
      expect(await bench.result(first)).to.equal(1);
      expect(await bench.holder('k')).to.equal(undefined);
    });

    for (const [meanwhile, happened] of [
      ['it was outdone', async (_first?: Job, third?: Job) => (await third?.getState()) === 'delayed'],
      ['the holder let go', async (first?: Job) => (await first?.getState()) === 'completed'],
    ] as const) {
      it(`comes back at once, though ${meanwhile} while it was being put off`, async () => {
        const gate = deferred();
        const ran: unknown[] = [];
        const jobs: Job[] = [];
        const guarded = onceProcessor(
          async (job: Job<{ version: number }>) => {
            ran.push(job.data.version);
            if (ran.length === 1) await gate.promise;
          },
          { key: 'k', whenLocked: 'keep-last' },
        );
        const isPutOff = deferred();
        await bench.worker(
          ((job: Job<{ version: number }>, token?: string) => {
            const move = job.moveToDelayed.bind(job);
            if (job.data.version === 2 && job.attemptsStarted === 1) {
              job.moveToDelayed = async (...args) => {
                isPutOff.resolve();
                await until(() => happened(jobs[0], jobs[2]));
                return move(...args);
              };
            }
            return guarded(job as never, token);
          }) as never,
          { concurrency: 4 },
        );
        jobs.push(await bench.add({ version: 1 }));
        await until(() => ran.length === 1);
        jobs.push(await bench.add({ version: 2 }));
        await isPutOff.promise;
        if (meanwhile === 'it was outdone') jobs.push(await bench.add({ version: 3 }));
        else gate.resolve();

        // Without being called it would come back when the lease would end, after 30 s.
        await until(async () => (await jobs[1]?.getState()) === 'completed', 'it came back', 15_000);

        gate.resolve();
        const last = jobs.length;
        await until(() => ran.includes(last));
        expect(ran).to.deep.equal([1, last]);
      });
    }

    it('outdoes a retry of an older job', async () => {
      const gate = deferred();
      const ran: unknown[] = [];
      await bench.worker(
        onceProcessor(
          async (job: Job<{ version: number }>) => {
            ran.push(job.data.version);
            if (ran.length === 1) {
              await gate.promise;
              throw new Error('the first fails');
            }
          },
          { key: 'k', whenLocked: 'keep-last' },
        ),
        { concurrency: 3 },
      );
      const first = await bench.add({ version: 1 }, { attempts: 2, backoff: 300 });
      await until(() => ran.length === 1);
      const newer = await bench.add({ version: 2 });
      await until(async () => (await newer.getState()) === 'delayed');

      gate.resolve();
      await until(async () => (await first.getState()) === 'completed');
      await until(async () => (await newer.getState()) === 'completed');

      expect(ran).to.deep.equal([1, 2]);
    });

    it('is not put off while the key is free', async () => {
      const ran: unknown[] = [];
      await bench.worker(
        onceProcessor((job: Job<{ version: number }>) => ran.push(job.data.version), {
          key: 'k',
          whenLocked: 'keep-last',
        }),
      );

      for (let version = 1; version <= 3; version++) await bench.result(await bench.add({ version }));

      expect(ran).to.deep.equal([1, 2, 3]);
    });
  });
}

describe("whenLocked: 'keep-last'", () => {
  it('is refused at the wrap with a cache that can not tell the newest', () => {
    const cache = { acquire() {}, renew() {}, release() {}, inspect() {} } as never as LockCache;

    expect(() => onceProcessor(() => {}, { cache, whenLocked: 'keep-last' })).to.throw(
      TypeError,
      "onceProcessor: whenLocked: 'keep-last' needs a cache with the method 'announce', and that of option 'cache' has none",
    );
  });
});

/**
 * A cache as a process has it that may die: from then on nothing of it reaches the store, and nothing comes back. Its steps
 * can be held up, so that others come in between.
 */
class MortalCache {
  #dead = false;
  readonly #cache: LockCache;
  readonly #pause: () => Promise<void>;

  constructor(cache: LockCache, pause: () => Promise<void>) {
    this.#cache = cache;
    this.#pause = pause;
  }

  die(): void {
    this.#dead = true;
  }

  async #step<Answer>(step: () => Promise<Answer>): Promise<Answer> {
    await this.#pause();
    if (this.#dead) return new Promise(() => {});
    const answer = await step();
    await this.#pause();
    return this.#dead ? new Promise(() => {}) : answer;
  }

  asCache(): LockCache {
    const cache = this.#cache;
    return {
      acquire: claims => this.#step(() => cache.acquire(claims)),
      renew: leases => this.#step(() => cache.renew(leases)),
      release: leases => this.#step(() => cache.release(leases)),
      inspect: keys => this.#step(() => cache.inspect(keys)),
      announce: arrivals => this.#step(() => (cache as Required<LockCache>).announce(arrivals)),
    };
  }
}

const TTL = 250;

/** What the jobs of one key did, and what is known of it without asking the lock. */
class Model {
  added = 0;
  readonly runs: { readonly version: number; done: boolean }[] = [];
  /** The runs that are under way, but for those of a process that died. */
  readonly running = new Set<Run>();
  readonly overlaps: string[] = [];
}

interface Run {
  readonly version: number;
  readonly worker: number;
  finish(how: 'complete' | 'fail'): void;
}

interface Member {
  readonly worker: Worker;
  readonly cache: MortalCache;
  dead: boolean;
}

/** Several workers in one process, each of which can die as a process does. */
class Crew {
  readonly model = new Model();
  readonly #bench: Bench;
  readonly #workers: Member[] = [];
  readonly #store: LockCache;
  readonly #pauses: readonly number[];
  #paused = 0;

  constructor(bench: Bench, store: LockCache, pauses: readonly number[]) {
    this.#bench = bench;
    this.#store = store;
    this.#pauses = pauses;
  }

  async hire(): Promise<void> {
    const worker = await this.#bench.worker(
      null as never,
      {
        autorun: false,
        lockDuration: 400,
        stalledInterval: 100,
        maxStalledCount: 50,
      } as never,
    );
    const cache = new MortalCache(this.#store, () => this.#pause());
    this.#workers.push({ worker, cache, dead: false });
    await worker.startStalledCheckTimer();
  }

  #pause(): Promise<void> {
    const ms = this.#pauses[this.#paused++ % this.#pauses.length] ?? 0;
    return new Promise(resolve => setTimeout(resolve, ms));
  }

  async add(): Promise<void> {
    this.model.added++;
    const options = { attempts: 3, backoff: { type: 'fixed', delay: 60 } };
    await this.#bench.add({ version: this.model.added }, options);
  }

  /** One worker fetches a job, if there is one, and begins to process it as BullMQ does. */
  async fetch(index: number): Promise<void> {
    const member = this.#workers[index % this.#workers.length];
    if (!member || member.dead) return;
    const token = `${index}-${Math.random()}`;
    const job: Job | undefined = await member.worker.getNextJob(token, { block: false });
    if (job) void this.#process(member, index % this.#workers.length, job, token);
  }

  async #process(member: Member, worker: number, job: Job, token: string) {
    const extend = setInterval(() => member.dead || job.extendLock(token, 400).catch(() => {}), 100);
    const guarded = onceProcessor(
      (its: Job<{ version: number }>, _token, _signal, lock) => this.#run(its, worker, member, lock),
      {
        key: 'k',
        ttl: TTL,
        cache: member.cache.asCache(),
        whenLocked: 'keep-last',
      },
    );
    try {
      const result = await guarded(job, token);
      if (!member.dead) await job.moveToCompleted(result ?? null, token, false);
    } catch (error) {
      if (member.dead || error instanceof DelayedError || (error as Error).name === 'DelayedError') return;
      await job.moveToFailed(error as Error, token, false).catch(() => {});
    } finally {
      clearInterval(extend);
    }
  }

  #run(
    job: Job<{ version: number }>,
    worker: number,
    member: { dead: boolean },
    lock: { held: boolean; signal: AbortSignal },
  ) {
    const { version } = job.data;
    const { running, runs, overlaps } = this.model;
    for (const other of running) overlaps.push(`${version} beside ${other.version}`);
    const record = { version, done: false };
    runs.push(record);
    return new Promise<void>((resolve, reject) => {
      const run: Run = {
        version,
        worker,
        finish: how => {
          running.delete(run);
          if (member.dead) return;
          record.done = how === 'complete';
          if (how === 'complete') resolve();
          else reject(new Error('told to fail'));
        },
      };
      // A run that has lost its lock counts for nothing: it was told so.
      lock.signal.addEventListener('abort', () => running.delete(run));
      running.add(run);
    });
  }

  finish(nth: number, how: 'complete' | 'fail'): void {
    const all = [...this.model.running];
    all[nth % Math.max(all.length, 1)]?.finish(how);
  }

  async crash(index: number): Promise<void> {
    const member = this.#workers[index % this.#workers.length];
    if (!member || member.dead) return;
    member.dead = true;
    member.cache.die();
    for (const run of this.model.running)
      if (run.worker === index % this.#workers.length) this.model.running.delete(run);
    const place = this.#workers.indexOf(member);
    await this.hire();
    this.#workers[place] = this.#workers.pop() as Member;
  }

  /** Lets everything come to its end. */
  async settle(): Promise<void> {
    await until(
      async () => {
        for (let i = 0; i < this.#workers.length; i++) await this.fetch(i);
        this.finish(0, 'complete');
        const counts = await this.#bench.queue.getJobCounts('active', 'waiting', 'delayed', 'prioritized');
        return Object.values(counts).every(count => count === 0);
      },
      'all jobs have ended',
      60_000,
    );
  }
}

type Real = Crew;
type Step = fc.AsyncCommand<Model, Real>;

const step = (name: string, run: (crew: Crew) => unknown): Step => ({
  check: () => true,
  run: async (_model, crew) => {
    await run(crew);
    expect(crew.model.overlaps, 'two at once').to.deep.equal([]);
  },
  toString: () => name,
});

const commands = [
  fc.constant(step('add', crew => crew.add())),
  fc.nat(2).map(i => step(`fetch(${i})`, crew => crew.fetch(i))),
  fc.nat(2).map(i => step(`fetch(${i})`, crew => crew.fetch(i))),
  fc.nat(1).map(i => step(`finish(${i})`, crew => crew.finish(i, 'complete'))),
  fc.nat(1).map(i => step(`fail(${i})`, crew => crew.finish(i, 'fail'))),
  fc.nat(2).map(i => step(`crash(${i})`, crew => crew.crash(i))),
  fc
    .integer({ min: 1, max: 80 })
    .map(ms => step(`wait(${ms})`, () => new Promise(resolve => setTimeout(resolve, ms)))),
];

const stores: { setup: string; open(): Promise<{ cache: LockCache; close(): unknown }> }[] = [
  {
    setup: 'BullMQ 6 with ioredis options',
    open: async () => {
      const redis = connectRedis();
      return { cache: new RedisCache(redis), close: () => redis.disconnect() };
    },
  },
  {
    setup: 'BullMQ 6 on PostgreSQL',
    open: async () => {
      const pool = new pg.Pool({ connectionString: (await sharedPostgres()).url, max: 4 });
      pool.on('error', () => {});
      return { cache: new PostgresCache(pool), close: () => pool.end() };
    },
  },
];

for (const { setup, open } of stores) {
  describe(`any order of arrivals, ends, failures and crashes under 'keep-last', on ${setup}`, () => {
    it('ends with the newest data, and never runs two at once', async function () {
      this.timeout(240_000);
      const { cache, close } = await open();

      await fc.assert(
        fc.asyncProperty(
          fc.commands(commands, { maxCommands: 40, size: 'max' }),
          fc.array(fc.nat(12), { minLength: 1, maxLength: 20 }),
          async (steps, pauses) => {
            const bench = await Bench.open(setupNamed(setup));
            const crew = new Crew(bench, cache, pauses);
            try {
              for (let i = 0; i < 3; i++) await crew.hire();
              await crew.add();
              await fc.asyncModelRun(() => ({ model: crew.model, real: crew }), steps);
              await crew.settle();

              const { runs, added, overlaps } = crew.model;
              expect(overlaps, 'two at once').to.deep.equal([]);
              const done = runs.filter(run => run.done).map(({ version }) => version);
              const failed = await bench.queue.getFailed();
              // A newest that has failed for good, for all to see, is not lost silently.
              if (!failed.some(({ data }) => data.version === added)) expect(done.at(-1)).to.equal(added);
            } finally {
              await bench.close();
            }
          },
        ),
        { numRuns: Number(process.env.KEEP_LAST_RUNS ?? 12), endOnFailure: true },
      );
      await close();
    });
  });
}
