/** Several workers in this process, each of which can crash as a process does. They fetch and process jobs as BullMQ does. */

import { DelayedError, type Job, UnrecoverableError, type Worker } from 'bullmq';
import { ownerOf } from '../../src/bullmq/job.ts';
import type { LineRecord } from '../../src/cache/contract.ts';
import { type LockCache, type LockHandle, onceProcessor } from '../../src/index.ts';
import type { Bench } from '../support/bullmq.ts';
import { until } from '../support/index.ts';
import { ASKED_TO_FAIL, type Created, type Ending, type History, type Run } from './line-history.ts';
import { MortalCache } from './mortal-cache.ts';

const LOCK_DURATION = 400;
/** A job that may run has started by then, ms. */
const MAX_START_MS = 60;
const ATTEMPTS = 3;
const BACKOFF_MS = 60;
const DELAYS_ITSELF_MS = 40;
/** A time of creation that a producer has made up is so far off. */
const OFF_MS = 3_600_000;

interface Member {
  readonly worker: Worker;
  readonly cache: MortalCache;
  readonly processing: Map<string, NodeJS.Timeout>;
  hasCrashed: boolean;
  losesPromotions: boolean;
}

/** How a job is added. */
export interface Added {
  readonly created?: Created;
  readonly lifo?: boolean;
  /** Its producer chooses its id. */
  readonly hasOwnId?: boolean;
}

type Data = { readonly version: number };

/** The library believes in a lease for nine tenths of its ttl, which it counts from before the cache is called. */
const NEAR_ITS_END = 0.6;

export class WorkerPool {
  readonly history: History;
  readonly #bench: Bench;
  readonly #members: Member[] = [];
  readonly #store: LockCache;
  readonly #pauses: readonly number[];
  /** When the lease of a run was confirmed last before the run ended. */
  readonly #confirmedAt = new WeakMap<LockHandle, number>();
  #paused = 0;
  #versions = 0;
  #fetches = 0;

  /** @param pauses - how long each step of a cache is held up, in ms. */
  constructor(bench: Bench, store: LockCache, pauses: readonly number[], history: History) {
    this.#bench = bench;
    this.#store = store;
    this.#pauses = pauses;
    this.history = history;
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
    const cache = new MortalCache(this.#store, () => this.#pause(), this.history);
    const member: Member = {
      worker,
      cache,
      processing: new Map(),
      hasCrashed: false,
      losesPromotions: false,
    };
    Object.defineProperty(worker, 'Job', {
      value: losingPromotions((worker as never as { Job: JobClass }).Job, member),
    });
    this.#members.push(member);
    await worker.startStalledCheckTimer();
  }

  /** Adds some jobs at once, all in one millisecond. */
  async add(
    { created = 'now', lifo = false, hasOwnId = false }: Added = {},
    count: number = 1,
  ): Promise<void> {
    const now = Date.now();
    const timestamp = created === 'now' ? now : created === 'back' ? now - OFF_MS : now + OFF_MS;
    const { whenLocked, listsInOrder } = this.history.rules;
    const isLifo = lifo && (listsInOrder || whenLocked !== 'in-order');
    const jobs = Array.from({ length: count }, () => {
      const version = ++this.#versions;
      const opts = {
        attempts: ATTEMPTS,
        backoff: { type: 'fixed', delay: BACKOFF_MS },
        timestamp,
        lifo: isLifo,
      };
      return { name: 'job', data: { version }, opts: hasOwnId ? { ...opts, jobId: `own-${version}` } : opts };
    });
    for (const job of await this.#bench.queue.addBulk(jobs))
      this.history.added(job.data.version, job, created);
  }

  /** One worker fetches a job, if there is one, and begins to process it. */
  async fetch(index: number): Promise<void> {
    const member = this.#members[index] as Member;
    const token = `${index}-${++this.#fetches}`;
    const job: Job | undefined = await member.worker.getNextJob(token, { block: false });
    if (!job) return;
    this.history.fetched(job, index);
    void this.#process(index, member, job, token);
  }

  /** Ends one of the runs that are under way. Where jobs have been fetched and none runs yet, one may run soon. */
  async endSoon(nth: number, how: Ending): Promise<void> {
    const mayRun = () => this.#members.some(({ processing }) => processing.size > 0);
    const isDue = () => this.history.running.size > 0 || !mayRun();
    await until(isDue, 'a job runs', MAX_START_MS).catch(() => {});
    this.end(nth, how);
  }

  end(nth: number, how: Ending): void {
    const all = [...this.history.running];
    all[nth % Math.max(all.length, 1)]?.end(how);
  }

  /** A worker crashes, and another one starts in its place. */
  async crash(index: number): Promise<void> {
    const member = this.#members[index] as Member;
    member.hasCrashed = true;
    member.cache.die();
    this.history.crashed(index, [...member.processing.keys()]);
    for (const timer of member.processing.values()) clearInterval(timer);
    member.processing.clear();
    await this.open();
    this.#members[index] = this.#members.pop() as Member;
  }

  /** From now on the promotions of a worker do nothing. */
  losePromotions(index: number): void {
    this.history.tell(`worker ${index} loses its promotions`);
    (this.#members[index] as Member).losesPromotions = true;
  }

  /** Removes one of the jobs that are parked, or wait for their retry. */
  async remove(nth: number): Promise<void> {
    const job = await this.#delayed(nth);
    if (!job) return;
    this.history.removing(job.id as string);
    const isRemoved = await job.remove().then(
      () => true,
      () => false,
    );
    if (!isRemoved) this.history.notRemoved(job.id as string);
  }

  /** Somebody promotes one of them. */
  async promote(nth: number): Promise<void> {
    const job = await this.#delayed(nth);
    if (!job) return;
    this.history.tell(`job ${job.data.version} is promoted by hand`);
    await job.promote().catch(() => {});
  }

  /** Lets all jobs come to their end, and then run as many more at once as there are places. Nothing is left of them. */
  async settle(): Promise<void> {
    const { history } = this;
    const { concurrency } = history.rules;
    history.tell('all are to end');
    await this.#allEnd();
    history.tell('as many more are to run as there are places');
    await this.add({}, concurrency);
    const run = async () => {
      for (let i = 0; i < this.#members.length; i++) await this.fetch(i);
      return history.running.size === concurrency;
    };
    await this.#holds(run, 'not all places can be had in the end', 10_000);
    await this.#allEnd();
    // Who releases the key strikes out a job that is gone.
    const isLeft = async () => {
      const [line] = await this.#linesOf('');
      return line?.held === 0 && line.parked === 0;
    };
    await this.#holds(isLeft, 'the key is held in the end, or has owners that are parked', 3_000);
    const jobs = await this.#bench.queue.getJobs(['completed', 'failed', 'active', 'waiting', 'delayed']);
    const states = new Map<string, { state: string; failedReason: string | undefined }>();
    for (const job of jobs) {
      states.set(job.id as string, { state: await job.getState(), failedReason: job.failedReason });
    }
    this.history.finished(states);
    this.history.check();
  }

  async #allEnd(): Promise<void> {
    const haveEnded = async () => {
      for (let i = 0; i < this.#members.length; i++) await this.fetch(i);
      if (this.history.running.size > 0) {
        await this.#isReplaced([...this.history.running][0] as Run);
        this.end(0, 'complete');
      }
      if (this.history.violations.length > 0) return true;
      const counts = await this.#bench.queue.getJobCounts('active', 'waiting', 'delayed', 'prioritized');
      return (
        Object.values(counts).every(count => count === 0) &&
        this.#members.every(({ processing }) => processing.size === 0)
      );
    };
    await this.#holds(haveEnded, 'not all jobs have ended', 30_000);
  }

  /** Notes a violation if a condition does not hold in time. */
  async #holds(condition: () => unknown, violation: string, within: number): Promise<void> {
    await until(condition, violation, within).catch(() => this.history.violations.push(violation));
    this.history.check();
  }

  /** Under `'replace'` a run is interrupted as long as another is parked. */
  async #isReplaced({ lock, version }: Run): Promise<void> {
    if (this.history.rules.whenLocked !== 'replace' || lock.signal.aborted) return;
    const isSoon = async () => lock.signal.aborted || (await this.#linesOf(''))[0]?.parked === 0;
    await this.#holds(isSoon, `job ${version} is not interrupted, though another is parked`, 5_000);
  }

  #linesOf(owner: string): Promise<readonly LineRecord[]> {
    const asked = [{ storedKey: this.#bench.storedName('k'), owner }];
    return (this.#store as Required<LockCache>).lines(asked) as never;
  }

  async #delayed(nth: number): Promise<Job<Data> | undefined> {
    const delayed = await this.#bench.queue.getDelayed();
    return delayed[nth % Math.max(delayed.length, 1)];
  }

  async #process(index: number, member: Member, job: Job<Data>, token: string): Promise<void> {
    const { history } = this;
    const { whenLocked, concurrency, holdThroughRetries, ttl } = history.rules;
    const id = job.id as string;
    const attempt = job.attemptsStarted;
    const extend = setInterval(() => job.extendLock(token, LOCK_DURATION).catch(() => {}), LOCK_DURATION / 4);
    member.processing.set(id, extend);
    let lock: LockHandle | undefined;
    let hasReturned = false;
    const guarded = onceProcessor(
      (its: Job<Data>, _token, _signal, itsLock) => {
        lock = itsLock;
        return this.#run(its, token, member, index, lock);
      },
      { key: 'k', ttl, cache: member.cache.cache, whenLocked, concurrency, holdThroughRetries },
    );
    try {
      const result = await guarded(job, token);
      hasReturned = true;
      if (member.hasCrashed) return;
      if (!lock) history.skipped(id, attempt);
      else if (!lock.signal.aborted && !this.#isReleasedLate(lock)) await this.#isFree(job, attempt);
      await job.moveToCompleted(result ?? null, token, false);
      if (lock) history.succeeded(id);
    } catch (error) {
      if (member.hasCrashed) return;
      const isDelayed = (error as Error).name === 'DelayedError';
      const isRetried = !(error instanceof UnrecoverableError) && job.attemptsMade + 1 < ATTEMPTS;
      // One that moved itself is in the middle of its work, replaced or not.
      const isReplaced = !isDelayed && lock?.signal.reason?.reason === 'replaced';
      // What returned reserves nothing, though BullMQ may not record its end: the job may have stalled meanwhile.
      const runsAgain = !hasReturned && (isDelayed || isRetried);
      if (lock) history.hasReserved(id, attempt, { isReplaced, runsAgain });
      if (isDelayed) return;
      await job.moveToFailed(error as Error, token, false).catch(() => {});
      history.failed(id, error as Error, job.finishedOn !== undefined);
    } finally {
      clearInterval(extend);
      if (member.processing.get(id) === extend) member.processing.delete(id);
    }
  }

  /** A release is tried for as long as the lease was safe when it was sent, and not longer. */
  #isReleasedLate(lock: LockHandle): boolean {
    const confirmedAt = this.#confirmedAt.get(lock) ?? 0;
    return performance.now() - confirmedAt > NEAR_ITS_END * this.history.rules.ttl;
  }

  /** Finished means free. */
  async #isFree(job: Job<Data>, attempt: number): Promise<void> {
    const [line] = await this.#linesOf(ownerOf(job as never));
    if (!line?.holds || !this.history.isNewestRun(job.id as string, attempt)) return;
    this.history.violations.push(`job ${job.data.version} holds the key when it has finished`);
  }

  #run(job: Job<Data>, token: string, member: Member, worker: number, lock: LockHandle): Promise<void> {
    const { history } = this;
    return new Promise((resolve, reject) => {
      const run: Run = {
        version: job.data.version,
        worker,
        lock,
        end: how => {
          history.ended(run, how);
          this.#confirmedAt.set(lock, history.confirmedAt(lock.fence));
          if (member.hasCrashed) return;
          if (how === 'complete') return resolve();
          if (how === 'fail') return reject(new Error(ASKED_TO_FAIL));
          if (how === 'fail for good') return reject(new UnrecoverableError(ASKED_TO_FAIL));
          const moved = job.moveToDelayed(Date.now() + DELAYS_ITSELF_MS, token);
          moved.then(() => reject(new DelayedError()), reject);
        },
      };
      if (!member.hasCrashed) history.started(run);
    });
  }

  #pause(): Promise<void> {
    const ms = this.#pauses[this.#paused++ % this.#pauses.length] ?? 0;
    return new Promise(resolve => setTimeout(resolve, ms));
  }
}

type JobClass = new (...args: any[]) => { promote(): Promise<void> };

/** BullMQ's class `Job`, of a worker whose promotions may be lost. */
function losingPromotions(Base: JobClass, member: Member): JobClass {
  return class extends Base {
    override async promote(): Promise<void> {
      if (!member.losesPromotions && !member.hasCrashed) await super.promote();
    }
  };
}
