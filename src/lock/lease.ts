/** One taking of a key, from the claim to the release, as the process that asked for it sees it. */

import { randomBytes } from 'node:crypto';
import type { Claim, Lease, Verdict } from '../cache/contract.ts';
import { LockLostError, type LossReason } from '../core/errors.ts';
import type { Teller } from '../events/events.ts';
import { tellLost } from './lease-events.ts';

/** A lease is renewed when this part of its ttl has passed. */
const RENEW_AFTER = 1 / 3;
/**
 * A lease is given up when this part of its ttl has passed without a renewal. The rest is for the work to stop
 * in, and for clocks that do not run alike.
 */
const SAFE_PART = 0.9;

/** Tokens are secrets of the process, counted: as unique as a UUID each, at a fraction of the cost. */
const PROCESS_SECRET = randomBytes(15).toString('base64url');
let leases = 0;

/**
 * - `'claiming'`: asked for, not yet answered;
 * - `'held'`: granted, and renewed until it is let go;
 * - `'lost'`: no longer ours, though the work goes on;
 * - `'releasing'`: let go of, not yet answered;
 * - `'leaving'`: extended for the last time, not yet answered;
 * - `'over'`: no more is done about it.
 */
export type Phase = 'claiming' | 'held' | 'lost' | 'releasing' | 'leaving' | 'over';

/** What is asked for. */
export interface LeaseRequest {
  /** The key's full name in the cache. */
  readonly key: string;
  /** The key as its user knows it, for errors. */
  readonly name: string;
  readonly owner: string;
  readonly attempt: number;
  readonly ttl: number;
  /** How long it is renewed at most, in ms. */
  readonly maxHold: number;
  /** When it was first asked for, on the monotonic clock. */
  readonly since: number;
  readonly teller: Teller;
  /** The work runs though the cache can't decide. */
  readonly runsAnyway: boolean;
  /** Of the job that it is for. */
  readonly queueName: string | undefined;
  readonly jobId: string | undefined;
}

/** Times are on the monotonic clock, in ms. */
export class KeptLease implements Claim, Lease {
  readonly key: string;
  readonly name: string;
  readonly owner: string;
  readonly attempt: number;
  ttl: number;
  readonly waits: boolean;
  readonly request: LeaseRequest;
  readonly token: string = `${PROCESS_SECRET}.${(leases++).toString(36)}`;
  keepFor = 0;
  fence = 0;

  phase: Phase = 'claiming';
  /** Whether it is in its keeper's {@link Watchlist}. */
  watched = false;
  /** When the cache is next asked to renew it. */
  renewAt = 0;
  /** Until when it is safe to believe that it is held, and to wait for an answer about it. */
  safeUntil = 0;
  /** When it was taken. */
  #takenAt = 0;
  /** Until when it is renewed, once it is held. */
  #holdUntil = Number.POSITIVE_INFINITY;
  /** When the renewal under way was sent; 0 while there is none. */
  renewalSentAt = 0;
  /** The last renewal was not answered, or has failed. */
  unanswered = false;
  /** Tells whoever waits for the claim to be answered, for the release to be sent, and for it to be answered. */
  onClaimed: ((verdict: Verdict | PromiseLike<Verdict>) => void) | undefined;
  onSent: (() => void) | undefined;
  onReleased: ((wasHeld: boolean) => void) | undefined;
  lost: LockLostError | undefined;
  #controller: AbortController | undefined;

  /** @param waits - to be told of the end of the lease that is found in its place. */
  constructor(request: LeaseRequest, waits = false) {
    const { key, name, owner, attempt, ttl } = request;
    this.request = request;
    this.key = key;
    this.name = name;
    this.owner = owner;
    this.attempt = attempt;
    this.ttl = ttl;
    this.waits = waits;
  }

  /** Counts from before the request was sent: the cache starts counting later, so it never ends earlier there. */
  extendFrom(sentAt: number): void {
    this.renewAt = sentAt + this.ttl * RENEW_AFTER;
    this.safeUntil = sentAt + this.ttl * SAFE_PART;
  }

  /** The claim was granted. */
  take(fence: number): void {
    this.phase = 'held';
    this.fence = fence;
    this.#takenAt = performance.now();
    this.#holdUntil = this.#takenAt + this.request.maxHold;
  }

  /** When something is to be done about it next. */
  get dueAt(): number {
    return this.phase === 'held'
      ? Math.min(this.renewable ? this.renewAt : this.safeUntil, this.#holdUntil)
      : this.safeUntil;
  }

  /** For how long it has been held, in ms. */
  get heldFor(): number {
    return performance.now() - this.#takenAt;
  }

  get overdue(): boolean {
    return this.phase === 'held' && performance.now() >= this.#holdUntil;
  }

  get held(): boolean {
    return this.phase === 'held' && performance.now() < this.safeUntil;
  }

  /** Whether it is to be renewed, and no renewal of it is under way. */
  get renewable(): boolean {
    return this.phase === 'held' && this.renewalSentAt === 0;
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
    if (this.lost) return;
    this.lost = new LockLostError(this.name, why);
    this.#controller?.abort(this.lost);
    tellLost(this, why);
  }

  /** Lets another signal abort this one's too; the lease stays held. */
  follow(other: AbortSignal): void {
    void this.signal;
    const abort = () => this.#controller?.abort(other.reason);
    if (other.aborted) abort();
    else other.addEventListener('abort', abort, { once: true });
  }
}
