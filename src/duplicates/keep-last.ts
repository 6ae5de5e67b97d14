/**
 * `'keep-last'`: of the jobs of one key one runs, and the newest of the others waits; those before it are skipped.
 *
 * Each job that comes for a key is announced: the cache remembers which is the newest. A job that is not is skipped, whether
 * it finds the key held or free, for the newest has come and will run, or has run already. Jobs that were put off or
 * failed come back late, so the newest is remembered for longer than they take. Announcing need not be one step with
 * claiming: a job that holds the key is announced before its work starts, and whoever is newer can't have run since.
 */

import { type Announcer, announcerOf } from '../cache/batching/arrivals.ts';
import type { Holder, Newest } from '../cache/contract.ts';
import { CacheError, LockError } from '../core/errors.ts';
import type { HeldLock } from '../lock/lock-handle.ts';
import { jobName } from '../key/stored-name.ts';
import { type FailingJob, longestBackoff, runsAgain } from '../bullmq/retries.ts';
import { attemptOf, jobIdIn } from '../bullmq/job.ts';
import { delayJob, endOf, mayStartAgain, putOff } from '../bullmq/delay.ts';
import type { Task } from '../guard/job-context.ts';

/** A job that was put off, or is to be retried, is remembered for so long beyond its time, in ms: its queue may be paused. */
const PUT_OFF = 86_400_000;
/**
 * Any other is remembered for so many ttl after it came, and for half of that after it ended: longer than a job that a worker
 * fetched and then stood still takes to come back.
 */
const REMEMBERED = 4;
/** A job that nobody can call comes back at least this often, in ms. */
const LONGEST_UNCALLED = 5000;

/** A job under `'keep-last'`: how it runs, and how it waits. */
export class KeepLast {
  readonly #task: Task;
  readonly #announcer: Announcer;
  /** Under which the cache has the newest job of the key. */
  readonly #newestKey: string;

  constructor(task: Task) {
    this.#task = task;
    this.#announcer = announcerOf(task.claimant.cache);
    this.#newestKey = jobName(task.job, task.scope, task.name, 'once-newest');
  }

  /** Runs a job that holds its key, if it is the newest. */
  async run(
    lock: HeldLock,
    keepFor: number,
    work: () => unknown,
    onFailure?: (error: unknown) => boolean | Promise<boolean>,
  ): Promise<unknown> {
    const { owner, name, claimant } = this.#task;
    const startedAt = performance.now();
    const newest = await this.#announceOrLetGo(lock);
    if (newest.owner !== owner) {
      claimant.tell('skipped', undefined);
      await lock.release();
      await this.#callNext();
      return undefined;
    }
    if (!lock.held) throw new CacheError(name, 'its lock was lost before its work began');
    try {
      return await lock.whileHeld(keepFor, () => this.#remembered(startedAt, work), onFailure);
    } finally {
      await this.#callNext();
    }
  }

  /** Puts a job off that found its key held, if it is the newest; else it is skipped. */
  async wait(holder: Holder): Promise<undefined> {
    const { job, token, owner, name, ttl, claimant } = this.#task;
    if (!mayStartAgain(job)) {
      claimant.tell('raised', holder);
      throw new LockError(name, holder);
    }
    const ms = this.#isCalled() ? endOf(holder, ttl) : Math.min(endOf(holder, ttl), LONGEST_UNCALLED);
    const newest = await this.#announce(true, ms + PUT_OFF);
    if (newest.owner !== owner) {
      claimant.tell('skipped', holder);
      return undefined;
    }
    await delayJob(job, token, ms);
    claimant.tell('kept', holder);
    if (await this.#wasMissed()) await this.#call(owner);
    throw putOff(job);
  }

  /**
   * Whoever lets go of the key, or outdoes a job that waits, calls it, which only works once it was put off. Whether that was
   * missed: the key is free by now, or another the newest.
   */
  async #wasMissed(): Promise<boolean> {
    const { owner, name, ttl, claimant } = this.#task;
    const key = this.#newestKey;
    // Asks which is the newest, as one that can't be.
    const look = { key, owner: '', order: '0', rerun: true, waits: false, keepFor: 1 };
    try {
      const [[holder], newest] = await Promise.all([
        claimant.cache.inspect([claimant.key]),
        this.#announcer.announce(look, name, ttl),
      ]);
      return !holder || newest.owner !== owner;
    } catch {
      // It was put off, and comes back by itself.
      return false;
    }
  }

  async #announce(waits: boolean, keepFor: number, rerun = attemptOf(this.#task.job) > 1): Promise<Newest> {
    const { job, owner, name, ttl, claimant } = this.#task;
    const arrival = { key: this.#newestKey, owner, order: orderOf(job), rerun, waits, keepFor };
    const newest = await this.#announcer.announce(arrival, name, ttl).catch(error => {
      claimant.tellFailed(error);
      throw error;
    });
    // It comes back at once, only to be skipped.
    if (newest.outdone !== undefined) await this.#call(newest.outdone);
    return newest;
  }

  async #announceOrLetGo(lock: HeldLock): Promise<Newest> {
    try {
      return await this.#announce(false, REMEMBERED * this.#task.ttl);
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  /** Runs the work, and sees to it that the job is remembered for long enough, before anyone can have its key. */
  async #remembered(startedAt: number, work: () => unknown): Promise<unknown> {
    const { job, ttl } = this.#task;
    let result: unknown;
    try {
      result = await work();
    } catch (error) {
      if (runsAgain(job, error)) await this.#remember((longestBackoff(job) ?? 0) + PUT_OFF);
      throw error;
    }
    const rememberFor = REMEMBERED * ttl;
    if (performance.now() - startedAt >= rememberFor / 2) await this.#remember(rememberFor);
    return result;
  }

  /** Calls the newest job, which waits for the key that was let go of. */
  async #callNext(): Promise<void> {
    const newest = await this.#remember(REMEMBERED * this.#task.ttl);
    if (newest?.waits && newest.owner !== this.#task.owner) await this.#call(newest.owner);
  }

  /** Announces a job that was here before. Hides nothing when it fails: who waits comes back by itself. */
  #remember(keepFor: number): Promise<Newest | undefined> {
    return this.#announce(false, keepFor, true).catch(() => undefined);
  }

  /** Whether others can call the job when it is put off. */
  #isCalled(): boolean {
    const { job, scope } = this.#task;
    return scope === undefined && 'promote' in job;
  }

  /** Lets a job that was put off come back at once. Where it was not put off, or it can't be called, nothing happens. */
  async #call(owner: string): Promise<void> {
    const { job } = this.#task;
    const id = jobIdIn(owner, job.queueQualifiedName);
    if (!('promote' in job) || id === undefined) return;
    const other = Object.create(job, { id: { value: id } }) as { promote(): Promise<void> };
    await other.promote().catch(() => {});
  }
}

/** By when it was created, then by the number that its queue gave it. That alone would not do: it begins anew in a queue that was obliterated. */
function orderOf({ id = '', timestamp }: FailingJob): string {
  const number = /^\d{1,15}$/.test(id) ? `.${id.padStart(15, '0')}` : '';
  return String(timestamp).padStart(15, '0') + number;
}
