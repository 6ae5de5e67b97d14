/**
 * Keeps leases alive. One keeper serves one cache: a single timer renews every lease that is due, in one
 * batch, and tells a lease when it is lost. The same timer bounds every claim and every release, so that a
 * cache that does not answer holds nobody up for longer than a lease lasts.
 */

import { randomUUID } from 'node:crypto';
import { Batcher } from './caches/batch.ts';
import type { Claim, Lease, LockCache, Verdict } from './caches/cache.ts';
import { CacheError, LockLostError, type LossReason } from './errors.ts';

/** A lease is renewed when this part of its ttl has passed… */
const RENEW_AFTER = 1 / 3;
/** …together with those that will be due within this part; a renewal that failed is tried again after it. */
const TOGETHER = 1 / 12;
/**
 * A lease is given up when this part of its ttl has passed without a renewal. The rest is for the work to stop
 * in, and for clocks that do not run alike.
 */
const SAFE_PART = 0.9;
/** The longest delay that a timer takes; more of it would fire at once. */
const LONGEST_DELAY = 2 ** 31 - 1;

type Phase = 'claiming' | 'held' | 'lost' | 'releasing' | 'over';

/** What is asked for with a new lease. */
export interface LeaseRequest {
  /** The key's full name in the cache. */
  readonly key: string;
  /** The key as its user knows it, for errors. */
  readonly name: string;
  readonly owner: string;
  readonly attempt: number;
  readonly ttl: number;
}

/** One taking of a key, from the claim to the release. All times are on the monotonic clock, in ms. */
export class KeptLease implements Claim, Lease {
  readonly key: string;
  readonly name: string;
  readonly owner: string;
  readonly attempt: number;
  readonly ttl: number;
  readonly token: string = randomUUID();
  keepFor = 0;
  fence = 0;

  phase: Phase = 'claiming';
  /** When the cache is next asked to renew it. */
  renewAt = 0;
  /** Until when it is safe to believe that it is held, and to wait for an answer about it. */
  safeUntil = 0;
  /** A renewal is under way, or has failed since the last that succeeded. */
  renewing = false;
  unanswered = false;
  /** Ends the wait for an answer that did not come in time. */
  giveUp: () => void = nothing;
  lost: LockLostError | undefined;
  #controller: AbortController | undefined;

  constructor({ key, name, owner, attempt, ttl }: LeaseRequest) {
    this.key = key;
    this.name = name;
    this.owner = owner;
    this.attempt = attempt;
    this.ttl = ttl;
  }

  /** Counts from before the request was sent: the cache starts counting later, so it never ends earlier there. */
  extendFrom(sentAt: number): void {
    this.renewAt = sentAt + this.ttl * RENEW_AFTER;
    this.safeUntil = sentAt + this.ttl * SAFE_PART;
  }

  get held(): boolean {
    return this.phase === 'held' && performance.now() < this.safeUntil;
  }

  /** Aborts when the lease is lost. Made when it is first asked for, since most work never looks at it. */
  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.lost) this.#controller.abort(this.lost);
    }
    return this.#controller.signal;
  }

  lose(why: LossReason): void {
    if (this.phase === 'held') this.phase = 'lost';
    this.lost ??= new LockLostError(this.name, why);
    this.#controller?.abort(this.lost);
  }

  /** Aborts the signal for a reason that is not the lock's; the lease stays held. */
  abort(reason: unknown): void {
    void this.signal;
    this.#controller?.abort(reason);
  }
}

export class Keeper {
  readonly #batcher: Batcher;
  readonly #watched = new Set<KeptLease>();
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Number.POSITIVE_INFINITY;

  constructor(cache: LockCache) {
    this.#batcher = new Batcher(cache);
  }

  /**
   * Asks for the lease's key; once it is taken the lease is kept until it is released or lost.
   * @throws CacheError the cache could not decide, or not in time.
   */
  claim(lease: KeptLease): Promise<Verdict> {
    return new Promise((resolve, reject) => {
      const fail = (problem: string, cause?: Error) => {
        this.#forget(lease);
        reject(new CacheError(lease.name, problem, cause && { cause }));
      };
      lease.extendFrom(performance.now());
      lease.giveUp = () => fail(`the cache did not answer within ${Math.round(lease.ttl * SAFE_PART)} ms`);
      this.#watch(lease, lease.safeUntil);
      this.#batcher.claim(lease, verdict => {
        if (lease.phase === 'over') return this.#letGoOfLate(lease, verdict);
        if (verdict instanceof Error) {
          fail(verdict.message, verdict);
          // It may have been granted all the same: the answer, not the claim, is what went missing.
          return this.#batcher.release(lease, nothing);
        }
        if (!verdict.taken) {
          this.#forget(lease);
        } else if (performance.now() >= lease.safeUntil) {
          lease.giveUp();
          return this.#letGoOfLate(lease, verdict);
        } else {
          lease.phase = 'held';
          lease.fence = verdict.fence;
          this.#wakeAt(lease.renewAt);
        }
        resolve(verdict);
      });
    });
  }

  /**
   * Lets go of a lease, or keeps its key as done for `keepFor` ms. Never rejects: the ttl frees what could not be
   * let go of.
   * @returns whether it was held until now; when the cache has answered, at the latest when the lease has ended.
   */
  release(lease: KeptLease, keepFor = 0): Promise<boolean> {
    return new Promise(resolve => {
      const wasHeld = this.#stopRenewing(lease);
      if (!wasHeld) resolve(false);
      else {
        lease.phase = 'releasing';
        lease.giveUp = () => {
          this.#forget(lease);
          resolve(false);
        };
        this.#watch(lease, lease.safeUntil);
      }
      this.#send(lease, keepFor, released => {
        this.#forget(lease);
        resolve(wasHeld && released === true);
      });
    });
  }

  /**
   * Like {@link release}, but resolves as soon as the release is handed to the cache: enough where whoever must not
   * find the key held learns of the end by the same connection, later.
   */
  releaseUnanswered(lease: KeptLease, keepFor = 0): Promise<void> {
    this.#stopRenewing(lease);
    this.#forget(lease);
    this.#send(lease, keepFor, nothing);
    return this.#batcher.sent();
  }

  /** Notices here, at the latest, that the lease has ended: timers may not have run since. */
  #stopRenewing(lease: KeptLease): boolean {
    if (lease.phase === 'held' && performance.now() >= lease.safeUntil) this.#expire(lease);
    return lease.phase === 'held';
  }

  #send(lease: KeptLease, keepFor: number, settle: (released: boolean | Error) => void): void {
    lease.keepFor = keepFor;
    this.#batcher.release(lease, released => {
      if (released === false) lease.lose('taken-over');
      settle(released);
    });
  }

  #letGoOfLate(lease: KeptLease, verdict: Verdict | Error): void {
    if (!(verdict instanceof Error) && verdict.taken) this.#batcher.release(lease, nothing);
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
    for (const lease of this.#watched) {
      if (now >= lease.safeUntil) {
        this.#expire(lease);
        continue;
      }
      const renewable = lease.phase === 'held' && !lease.renewing;
      if (renewable && now >= lease.renewAt - lease.ttl * TOGETHER) this.#renew(lease, now);
      next = Math.min(next, renewable && !lease.renewing ? lease.renewAt : lease.safeUntil);
    }
    if (next !== Number.POSITIVE_INFINITY) this.#wakeAt(next);
  };

  #expire(lease: KeptLease): void {
    this.#watched.delete(lease);
    if (lease.phase === 'held') lease.lose(lease.unanswered ? 'unreachable' : 'expired');
    else lease.giveUp();
  }

  #renew(lease: KeptLease, now: number): void {
    lease.renewing = true;
    lease.unanswered = true;
    this.#batcher.renew(lease, renewed => {
      lease.renewing = false;
      if (lease.phase !== 'held') return;
      if (renewed === false) {
        this.#watched.delete(lease);
        lease.lose('taken-over');
        return;
      }
      if (renewed === true) {
        lease.unanswered = false;
        lease.extendFrom(now);
      } else {
        lease.renewAt = performance.now() + lease.ttl * TOGETHER;
      }
      this.#wakeAt(Math.min(lease.renewAt, lease.safeUntil));
    });
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

function nothing(): void {}
