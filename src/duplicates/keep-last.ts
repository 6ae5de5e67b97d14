/**
 * `'keep-last'`: of the jobs of one key one runs, and the newest of the others is parked; older ones are skipped.
 *
 * Each job that comes for a key is announced, and the cache remembers which is the newest. A job that is not the newest is
 * skipped, whether its key is held or free: the newest has come and will run, or has run already. Jobs that were delayed or
 * failed come back late, so the newest is remembered for longer than they take. To announce need not be one step with
 * acquiring: a job is announced after it has acquired the key and before its work starts, and no newer job can have run since.
 */

import { delayJob, mayStartAgain } from '../bullmq/delay.ts';
import { attemptOf, findSibling, type RunningJob } from '../bullmq/job.ts';
import { comesBackIn, mayRunAgain } from '../bullmq/retries.ts';
import { arrivalsOf } from '../cache/batching/arrivals.ts';
import type { Newest } from '../cache/contract.ts';
import { asError, CacheError } from '../core/errors.ts';
import type { Holder } from '../core/holder.ts';
import { jobOfOwner } from '../key/owner-id.ts';
import { jobName } from '../key/stored-name.ts';
import type { LockHandle } from '../lock/lock-handle.ts';
import { msUntilFree } from './delay.ts';
import { raiseDuplicate, skipDuplicate } from './skip-or-raise.ts';
import { type GuardedJob, plain, type StrategyForm } from './strategy.ts';

/** A job that is parked or will be retried is remembered for this time after it is due: its queue may be paused. */
const REMEMBER_AFTER_DUE_MS = 86_400_000;
/**
 * Any other job is remembered for this many ttl after it came, and for half of that after it ended. That is longer than a job
 * takes to come back that a worker fetched before it stood still.
 */
const REMEMBER_TTLS = 4;
/** A longer backoff decides for nobody else. */
const MAX_BACKOFF_MS = 7 * 86_400_000;
/** A parked job that nobody can promote comes back at least this often. */
const MAX_UNPROMOTED_MS = 5000;

export const keepLastForm: StrategyForm<GuardedJob> = {
  usage: "'keep-last'",
  parse(whenLocked) {
    if (whenLocked !== 'keep-last') return undefined;
    return {
      ...plain,
      needs: { capability: 'announce' },
      outcome: 'parked',
      onHeld: (work, holder) => new KeepLast(work).park(holder),
      run: (work, handle) => (handle.isGuarded ? new KeepLast(work).run(handle) : work.run(handle)),
    };
  },
};

/** One job under `'keep-last'`. */
class KeepLast {
  readonly #work: GuardedJob;
  readonly #job: RunningJob;
  readonly #owner: string;
  readonly #ttl: number;
  /** The name under which the cache remembers the newest job of the key. */
  readonly #newestKey: string;

  constructor(work: GuardedJob) {
    const { job, scope, request } = work;
    this.#work = work;
    this.#job = job;
    this.#owner = request.terms.owner;
    this.#ttl = request.terms.ttl;
    this.#newestKey = jobName(job, scope, request.terms.key, 'newest');
  }

  /** Runs a job that holds its key, if it is the newest. */
  async run(handle: LockHandle): Promise<unknown> {
    const { request } = this.#work;
    const startedAt = performance.now();
    let newest: Newest;
    try {
      newest = await this.#announce({ parked: false, rememberFor: REMEMBER_TTLS * this.#ttl });
    } catch (error) {
      void handle.release();
      return this.#work.failOpen(error);
    }
    if (newest.owner !== this.#owner) {
      skipDuplicate(request, undefined);
      await handle.release();
      await this.#promoteNewest();
      return undefined;
    }
    if (!handle.held) {
      const error = new CacheError(handle.key, 'its lock was lost before the work began');
      request.emitCacheError('park', error);
      void handle.release();
      return this.#work.failOpen(error);
    }
    try {
      return await this.#work.run(handle, work => this.#remembered(startedAt, work));
    } finally {
      await this.#promoteNewest();
    }
  }

  /** Parks a job that found its key held, if it is the newest; else it is skipped. */
  async park(holder: Holder): Promise<unknown> {
    const { token, request } = this.#work;
    if (!mayStartAgain(this.#job)) raiseDuplicate(request, holder);
    const free = msUntilFree(holder, this.#ttl);
    // Nobody promotes it when a reservation ends with its job.
    const canWait = this.#canBePromoted() && holder.state !== 'reserved';
    const ms = canWait ? free : Math.min(free, MAX_UNPROMOTED_MS);
    let newest: Newest;
    try {
      newest = await this.#announce({ parked: true, rememberFor: ms + REMEMBER_AFTER_DUE_MS });
    } catch (error) {
      return this.#work.failOpen(error);
    }
    if (newest.owner !== this.#owner) return skipDuplicate(request, holder);
    const moved = await delayJob(this.#job, token, ms);
    request.emitOutcome('parked', holder);
    if (await this.#missedItsPromotion()) await this.#promote(this.#owner);
    throw moved;
  }

  /**
   * The holder promotes the newest job when it releases the key, and a newer job promotes the one that it outdoes. Both do
   * nothing while the job is not yet in the delayed set. So the job looks once more: the key is free, or it is not the newest.
   */
  async #missedItsPromotion(): Promise<boolean> {
    const { request } = this.#work;
    // Asks which is the newest, as one that can't be.
    const probe = { owner: '', order: '0', rerun: true, parked: false, rememberFor: 1 };
    try {
      const [holder, newest] = await Promise.all([
        request.findHolder(),
        arrivalsOf(request.cache).announce(
          { storedKey: this.#newestKey, ...probe },
          request.terms.key,
          this.#ttl,
        ),
      ]);
      return !holder || newest.owner !== this.#owner;
    } catch {
      // It is delayed, and comes back by itself.
      return false;
    }
  }

  /** @throws CacheError the cache could not say which job is the newest. */
  async #announce({
    parked,
    rememberFor,
    rerun = attemptOf(this.#job) > 1,
  }: {
    readonly parked: boolean;
    readonly rememberFor: number;
    readonly rerun?: boolean;
  }): Promise<Newest> {
    const { request } = this.#work;
    const arrival = {
      storedKey: this.#newestKey,
      owner: this.#owner,
      order: orderOf(this.#job),
      rerun,
      parked,
      rememberFor,
    };
    let newest: Newest;
    try {
      newest = await arrivalsOf(request.cache).announce(arrival, request.terms.key, this.#ttl);
    } catch (error) {
      request.emitCacheError('park', asError(error));
      throw error;
    }
    // It comes back at once, only to be skipped.
    if (newest.outdone !== undefined) await this.#promote(newest.outdone);
    return newest;
  }

  /** Runs the work, and makes sure that the job is remembered for long enough before anyone else can acquire its key. */
  async #remembered(startedAt: number, work: () => Promise<unknown>): Promise<unknown> {
    let result: unknown;
    try {
      result = await work();
    } catch (error) {
      if (mayRunAgain(this.#job, error)) {
        const backoff = Math.min(comesBackIn(this.#job, error) ?? 0, MAX_BACKOFF_MS);
        await this.#remember(backoff + REMEMBER_AFTER_DUE_MS);
      }
      throw error;
    }
    const rememberFor = REMEMBER_TTLS * this.#ttl;
    if (performance.now() - startedAt >= rememberFor / 2) await this.#remember(rememberFor);
    return result;
  }

  /** Promotes the newest job, if it is parked for the key that was released. */
  async #promoteNewest(): Promise<void> {
    const newest = await this.#remember(REMEMBER_TTLS * this.#ttl);
    if (newest?.parked && newest.owner !== this.#owner) await this.#promote(newest.owner);
  }

  /** Announces the job once more. A failure harms nothing: a parked job comes back by itself. */
  #remember(rememberFor: number): Promise<Newest | undefined> {
    return this.#announce({ parked: false, rememberFor, rerun: true }).catch(() => undefined);
  }

  /** Whether other jobs of the key can promote this one when it is parked: they know it by its owner alone. */
  #canBePromoted(): boolean {
    const isNamed = jobOfOwner(this.#owner) !== undefined;
    return isNamed && this.#work.scope === undefined && this.#job.promote !== undefined;
  }

  /** Runs a parked job now. Nothing happens where it is not delayed, or where its queue is out of reach. */
  async #promote(owner: string): Promise<void> {
    const other = jobOfOwner(owner);
    if (other?.queueQualifiedName !== this.#job.queueQualifiedName) return;
    try {
      await (await findSibling(this.#job, other))?.promote?.();
    } catch {
      // It is not delayed any more.
    }
  }
}

/** By creation, then by the number that the queue gave the job. The number alone is not enough: an obliterated queue counts anew. */
function orderOf(job: RunningJob): string {
  const { id = '' } = job;
  const number = /^\d{1,15}$/.test(id) ? `.${id.padStart(15, '0')}` : '';
  return String(createdAt(job)).padStart(15, '0') + number;
}

/**
 * A producer chooses the time of creation. One that is ahead counts as the time at which the job came first; when the job comes
 * again, that is not known any more, and it is older than all others.
 */
function createdAt(job: RunningJob): number {
  const now = Date.now();
  if (job.timestamp <= now) return Math.max(job.timestamp, 0);
  return attemptOf(job) > 1 ? 0 : now;
}
