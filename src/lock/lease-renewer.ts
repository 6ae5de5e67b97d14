/**
 * Keeps leases alive. One keeper serves one cache: a single timer renews every lease that is due, in one
 * batch, and tells a lease when it is lost. The same timer bounds every claim and every release, so that a
 * cache that does not answer holds nobody up for longer than a lease lasts.
 */

import { Batcher, type Listener } from '../cache/batching/batcher.ts';
import type { LockCache, Verdict } from '../cache/contract.ts';
import { CacheError } from '../core/errors.ts';
import type { KeptLease } from './lease.ts';
import { tellFailed, tellReleased, tellRenewed, tellTaken } from './lease-events.ts';
import { Watchlist } from './lease-list.ts';

/** Leases that are due within this part of their ttl are renewed together; a failed renewal is tried again after it. */
const TOGETHER = 1 / 12;
/** So many leases are renewed in one turn of the event loop: more would hold up the very work that they are kept for. */
const MOST_RENEWALS = 4000;
/** The longest delay that a timer takes; more of it would fire at once. */
const LONGEST_DELAY = 2 ** 31 - 1;

export class Keeper implements Listener<KeptLease> {
  readonly #batcher: Batcher<KeptLease>;
  /** The leases that are to be renewed, or given up on, in time. */
  readonly #watched = new Watchlist();
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Number.POSITIVE_INFINITY;

  constructor(cache: LockCache) {
    this.#batcher = new Batcher(cache, this);
  }

  /**
   * Asks for the lease's key; once it is taken the lease is kept until it is released or lost.
   * @throws CacheError the cache could not decide, or not in time.
   */
  claim(lease: KeptLease): Promise<Verdict> {
    lease.extendFrom(performance.now());
    this.#watch(lease, lease.safeUntil);
    this.#batcher.claim(lease);
    return new Promise(resolve => {
      lease.onClaimed = resolve;
    });
  }

  /**
   * Lets go of a lease, or keeps its key as done for `keepFor` ms. Never rejects: the ttl frees what could not be
   * let go of.
   * @returns whether it was held until now; when the cache has answered, at the latest when the lease is no longer safe.
   */
  release(lease: KeptLease, keepFor: number): Promise<boolean> {
    const wasHeld = this.#stopRenewing(lease);
    this.#send(lease, keepFor);
    if (wasHeld) {
      lease.phase = 'releasing';
      this.#watch(lease, lease.safeUntil);
    }
    return new Promise(resolve => {
      if (wasHeld) lease.onReleased = resolve;
      else lease.onSent = () => resolve(false);
    });
  }

  /**
   * Like {@link release}, but resolves as soon as the release is handed to the cache: enough where whoever must not
   * find the key held learns of the end by the same connection, later.
   */
  releaseUnanswered(lease: KeptLease, keepFor: number): Promise<void> {
    this.#stopRenewing(lease);
    this.#forget(lease);
    this.#send(lease, keepFor);
    return new Promise(resolve => {
      lease.onSent = resolve;
    });
  }

  /**
   * Extends a lease for the last time, to `ms` from now, and leaves it to end, or to be taken over by its owner. Resolves when
   * the cache has answered, at the latest when the lease is no longer safe; never rejects.
   */
  leave(lease: KeptLease, ms: number): Promise<void> {
    if (!this.#stopRenewing(lease)) {
      this.#forget(lease);
      return Promise.resolve();
    }
    lease.phase = 'leaving';
    lease.ttl = ms;
    this.#batcher.renew(lease);
    this.#watch(lease, lease.safeUntil);
    return new Promise(resolve => {
      lease.onReleased = () => resolve();
    });
  }

  sent(lease: KeptLease): void {
    lease.onSent?.();
  }

  claimed(lease: KeptLease, answer: Verdict | Error): void {
    if (answer instanceof Error) this.#abandon(lease, answer.message, answer);
    else if (answer.taken) this.#take(lease, answer);
    else this.#refuse(lease, answer);
  }

  renewed(lease: KeptLease, answer: boolean | Error): void {
    const { renewalSentAt } = lease;
    lease.renewalSentAt = 0;
    if (lease.phase === 'leaving') this.#letGo(lease, answer);
    if (lease.phase !== 'held') return;
    if (answer === false) {
      this.#watched.delete(lease);
      lease.lose('taken-over');
      return;
    }
    if (answer === true) {
      lease.unanswered = false;
      lease.extendFrom(renewalSentAt);
      tellRenewed(lease);
    } else {
      lease.renewAt = performance.now() + lease.ttl * TOGETHER;
      tellFailed(lease, 'renew', answer);
    }
    this.#wakeAt(Math.min(lease.dueAt, lease.safeUntil));
  }

  released(lease: KeptLease, answer: boolean | Error): void {
    if (lease.fence > 0) {
      if (answer === false) lease.lose('taken-over');
      else if (answer === true) tellReleased(lease);
      else tellFailed(lease, 'release', answer);
    }
    if (lease.phase === 'releasing') this.#letGo(lease, answer);
  }

  #letGo(lease: KeptLease, answer: boolean | Error): void {
    this.#forget(lease);
    lease.onReleased?.(answer === true);
  }

  #take(lease: KeptLease, verdict: Verdict & { taken: true }): void {
    const inTime = lease.phase === 'claiming' && performance.now() < lease.safeUntil;
    if (!inTime) {
      this.#abandon(lease, 'the cache answered too late');
      return;
    }
    lease.take(verdict.fence);
    this.#wakeAt(lease.dueAt);
    if (verdict.tookOver) this.#loseOthers(lease);
    tellTaken(lease, verdict.tookOver);
    lease.onClaimed?.(verdict);
  }

  #refuse(lease: KeptLease, verdict: Verdict): void {
    this.#forget(lease);
    lease.onClaimed?.(verdict);
  }

  /** Notices here, at the latest, that the lease has ended: timers may not have run since. */
  #stopRenewing(lease: KeptLease): boolean {
    if (lease.phase === 'held' && performance.now() >= lease.safeUntil) this.#giveUp(lease);
    return lease.phase === 'held';
  }

  #send(lease: KeptLease, keepFor: number): void {
    lease.keepFor = keepFor;
    this.#batcher.release(lease);
  }

  /** Fails a claim, and lets go of what it may have got all the same, or may get when it lands late. */
  #abandon(lease: KeptLease, problem: string, cause?: Error): void {
    this.#batcher.release(lease);
    const awaited = lease.phase === 'claiming';
    this.#forget(lease);
    if (!awaited) return;
    const error = new CacheError(lease.name, problem, cause && { cause });
    tellFailed(lease, 'claim', error);
    lease.onClaimed?.(Promise.reject(error));
  }

  /** An earlier run of the same owner may still be going in this process: it need not wait for its renewal to fail. */
  #loseOthers(taken: KeptLease): void {
    for (const lease of this.#watched) {
      if (lease === taken || lease.key !== taken.key || lease.phase !== 'held') continue;
      this.#watched.delete(lease);
      lease.lose('taken-over');
    }
  }

  #watch(lease: KeptLease, at: number): void {
    this.#watched.add(lease);
    this.#wakeAt(at);
  }

  #forget(lease: KeptLease): void {
    lease.phase = 'over';
    this.#watched.delete(lease);
  }

  #wakeAt(at: number): void {
    if (at >= this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = at;
    const delay = Math.min(Math.max(Math.ceil(at - performance.now()), 1), LONGEST_DELAY);
    this.#timer = setTimeout(this.#tick, delay).unref();
  }

  readonly #tick = (): void => {
    this.#timerAt = Number.POSITIVE_INFINITY;
    const now = performance.now();
    let next = Number.POSITIVE_INFINITY;
    let renewals = 0;
    for (const lease of this.#watched) {
      if (now >= lease.safeUntil) {
        this.#giveUp(lease);
        continue;
      }
      if (lease.overdue) {
        this.#watched.delete(lease);
        lease.lose('overdue');
        continue;
      }
      if (lease.renewable && now >= lease.renewAt - lease.ttl * TOGETHER) {
        if (renewals++ === MOST_RENEWALS) {
          next = now;
          break;
        }
        this.#renew(lease, now);
      }
      next = Math.min(next, lease.dueAt);
    }
    if (next !== Number.POSITIVE_INFINITY) this.#wakeAt(next);
  };

  /** The time is up: until now the lease was safe, or an answer about it could come. */
  #giveUp(lease: KeptLease): void {
    this.#watched.delete(lease);
    if (lease.phase === 'held') lease.lose(lease.unanswered ? 'unreachable' : 'expired');
    else if (lease.phase === 'claiming') this.#abandon(lease, 'the cache did not answer in time');
    else this.#letGo(lease, new Error('the cache did not answer in time'));
  }

  #renew(lease: KeptLease, now: number): void {
    lease.renewalSentAt = now;
    lease.unanswered = true;
    this.#batcher.renew(lease);
  }
}

/** The one keeper of a cache. */
export function keeperOf(cache: LockCache): Keeper {
  let keeper = keepers.get(cache);
  if (!keeper) {
    keeper = new Keeper(cache);
    keepers.set(cache, keeper);
  }
  return keeper;
}

const keepers = new WeakMap<LockCache, Keeper>();
