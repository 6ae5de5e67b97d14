/**
 * `whenLocked: 'keep-last'` in random orders of arrivals, ends, failures and crashes. `KEEP_LAST_RUNS=100` tries more of them.
 * What is found is printed with its seed.
 */

import type { Job, Worker } from 'bullmq';
import { expect } from 'chai';
import fc from 'fast-check';
import { type LockCache, type LockHandle, onceProcessor } from '../../src/index.ts';
import { Bench, setupNamed } from '../support/bullmq.ts';
import { allCaches, type CacheEntry } from '../support/caches.ts';
import { until } from '../support/index.ts';

/** The caches of the jobs, by what their queue is on. */
const CACHES = {
  'BullMQ 6 with ioredis options': 'RedisCache on ioredis',
  'BullMQ 6 on PostgreSQL': 'PostgresCache on a pool',
};

for (const [setup, cacheName] of Object.entries(CACHES)) {
  describe(`The jobs of one key under 'keep-last' (${setup})`, () => {
    it('run one at a time and end with the newest, in any order of arrivals, ends, failures and crashes', async function () {
      this.timeout(240_000);
      const entry = allCaches.find(({ name }) => name === cacheName) as CacheEntry;
      const { cache, close } = await entry.create();

      await fc.assert(
        fc.asyncProperty(
          fc.commands(commands, { maxCommands: 40, size: 'max' }),
          fc.array(fc.nat(12), { minLength: 1, maxLength: 20 }),
          async (steps, pauses) => {
            const bench = await Bench.open(setupNamed(setup));
            const pool = new WorkerPool(bench, cache, pauses);
            try {
              for (let i = 0; i < 3; i++) await pool.open();
              await pool.add();
              await fc.asyncModelRun(() => ({ model: pool.observed, real: pool }), steps);
              await pool.settle();

              const { runs, added, overlaps } = pool.observed;
              expect(overlaps, 'two at once').to.deep.equal([]);
              const done = runs.filter(run => run.done).map(({ version }) => version);
              const failed = await bench.queue.getFailed();
              // A newest job that has failed for good is there for all to see, and not lost silently.
              if (!failed.some(({ data }) => data.version === added)) expect(done.at(-1)).to.equal(added);
            } finally {
              await bench.close();
            }
          },
        ),
        { numRuns: Number(process.env.KEEP_LAST_RUNS ?? 12), endOnFailure: true },
      );
      await close?.();
    });
  });
}

const TTL = 250;
const LOCK_DURATION = 400;

/** What the jobs of one key did, and what is known of it without asking the lock. */
class Observed {
  added = 0;
  readonly runs: { readonly version: number; done: boolean }[] = [];
  /** The runs that are under way, except those of a worker that crashed. */
  readonly running = new Set<Run>();
  readonly overlaps: string[] = [];
}

interface Run {
  readonly version: number;
  readonly member: Member;
  finish(how: 'complete' | 'fail'): void;
}

/** A worker that can crash as a process does. */
interface Member {
  readonly worker: Worker;
  readonly cache: MortalCache;
  hasCrashed: boolean;
}

/** Several workers in this process. */
class WorkerPool {
  readonly observed = new Observed();
  readonly #bench: Bench;
  readonly #members: Member[] = [];
  readonly #store: LockCache;
  readonly #pauses: readonly number[];
  #paused = 0;

  /** @param pauses - how long each step of a cache is held up, in ms. */
  constructor(bench: Bench, store: LockCache, pauses: readonly number[]) {
    this.#bench = bench;
    this.#store = store;
    this.#pauses = pauses;
  }

  /** Adds a worker. */
  async open(): Promise<void> {
    const options = {
      autorun: false,
      lockDuration: LOCK_DURATION,
      stalledInterval: 100,
      maxStalledCount: 50,
    };
    const worker = await this.#bench.worker(null as never, options);
    const cache = new MortalCache(this.#store, () => this.#pause());
    this.#members.push({ worker, cache, hasCrashed: false });
    await worker.startStalledCheckTimer();
  }

  async add(): Promise<void> {
    this.observed.added++;
    const options = { attempts: 3, backoff: { type: 'fixed', delay: 60 } };
    await this.#bench.add({ version: this.observed.added }, options);
  }

  /** One worker fetches a job, if there is one, and begins to process it as BullMQ does. */
  async fetch(index: number): Promise<void> {
    const member = this.#members[index];
    if (!member) return;
    const token = `${index}-${Math.random()}`;
    const job: Job | undefined = await member.worker.getNextJob(token, { block: false });
    if (job) void this.#process(member, job, token);
  }

  /** Ends one of the runs that are under way. */
  finish(nth: number, how: 'complete' | 'fail'): void {
    const all = [...this.observed.running];
    all[nth % Math.max(all.length, 1)]?.finish(how);
  }

  /** A worker crashes, and another one starts in its place. */
  async crash(index: number): Promise<void> {
    const member = this.#members[index] as Member;
    member.hasCrashed = true;
    member.cache.die();
    const { running } = this.observed;
    for (const run of running) if (run.member === member) running.delete(run);
    await this.open();
    this.#members[index] = this.#members.pop() as Member;
  }

  /** Lets all jobs come to their end. */
  async settle(): Promise<void> {
    const haveEnded = async () => {
      for (let i = 0; i < this.#members.length; i++) await this.fetch(i);
      this.finish(0, 'complete');
      const counts = await this.#bench.queue.getJobCounts('active', 'waiting', 'delayed', 'prioritized');
      return Object.values(counts).every(count => count === 0);
    };
    await until(haveEnded, 'all jobs have ended', 60_000);
  }

  async #process(member: Member, job: Job, token: string): Promise<void> {
    const extend = setInterval(
      () => member.hasCrashed || job.extendLock(token, LOCK_DURATION).catch(() => {}),
      LOCK_DURATION / 4,
    );
    const guarded = onceProcessor(
      (its: Job<{ version: number }>, _token, _signal, lock) => this.#run(its, member, lock),
      { key: 'k', ttl: TTL, cache: member.cache.asCache(), whenLocked: 'keep-last' },
    );
    try {
      const result = await guarded(job, token);
      if (!member.hasCrashed) await job.moveToCompleted(result ?? null, token, false);
    } catch (error) {
      if (member.hasCrashed || (error as Error).name === 'DelayedError') return;
      await job.moveToFailed(error as Error, token, false).catch(() => {});
    } finally {
      clearInterval(extend);
    }
  }

  #run({ data: { version } }: Job<{ version: number }>, member: Member, lock: LockHandle): Promise<void> {
    const { running, runs, overlaps } = this.observed;
    for (const other of running) overlaps.push(`${version} beside ${other.version}`);
    const record = { version, done: false };
    runs.push(record);
    return new Promise((resolve, reject) => {
      const run: Run = {
        version,
        member,
        finish(how) {
          running.delete(run);
          if (member.hasCrashed) return;
          record.done = how === 'complete';
          if (how === 'complete') resolve();
          else reject(new Error('asked to fail'));
        },
      };
      // A run whose signal has aborted knows that it has lost its lock, and does not count.
      lock.signal.addEventListener('abort', () => running.delete(run));
      running.add(run);
    });
  }

  #pause(): Promise<void> {
    const ms = this.#pauses[this.#paused++ % this.#pauses.length] ?? 0;
    return new Promise(resolve => setTimeout(resolve, ms));
  }
}

/**
 * A cache as a process has it that may die: from then on none of its steps reaches the store, and no answer comes back. Its
 * steps can be held up, so that those of others come in between.
 */
class MortalCache {
  #isDead = false;
  readonly #cache: LockCache;
  readonly #pause: () => Promise<void>;

  constructor(cache: LockCache, pause: () => Promise<void>) {
    this.#cache = cache;
    this.#pause = pause;
  }

  die(): void {
    this.#isDead = true;
  }

  asCache(): LockCache {
    const cache = this.#cache;
    return {
      acquire: steps => this.#step(() => cache.acquire(steps)),
      renew: steps => this.#step(() => cache.renew(steps)),
      release: steps => this.#step(() => cache.release(steps)),
      inspect: storedKeys => this.#step(() => cache.inspect(storedKeys)),
      announce: arrivals => this.#step(() => (cache as Required<LockCache>).announce(arrivals)),
    };
  }

  async #step<Answer>(step: () => Promise<Answer>): Promise<Answer> {
    await this.#pause();
    if (this.#isDead) return new Promise(() => {});
    const answer = await step();
    await this.#pause();
    return this.#isDead ? new Promise(() => {}) : answer;
  }
}

type Command = fc.AsyncCommand<Observed, WorkerPool>;

function command(name: string, run: (pool: WorkerPool) => unknown): Command {
  return {
    check: () => true,
    run: async (_model, pool) => {
      await run(pool);
      expect(pool.observed.overlaps, 'two at once').to.deep.equal([]);
    },
    toString: () => name,
  };
}

const commands = [
  fc.constant(command('add', pool => pool.add())),
  fc.nat(2).map(i => command(`fetch(${i})`, pool => pool.fetch(i))),
  fc.nat(2).map(i => command(`fetch(${i})`, pool => pool.fetch(i))),
  fc.nat(1).map(i => command(`finish(${i})`, pool => pool.finish(i, 'complete'))),
  fc.nat(1).map(i => command(`fail(${i})`, pool => pool.finish(i, 'fail'))),
  fc.nat(2).map(i => command(`crash(${i})`, pool => pool.crash(i))),
  fc
    .integer({ min: 1, max: 80 })
    .map(ms => command(`wait(${ms})`, () => new Promise(resolve => setTimeout(resolve, ms)))),
];
