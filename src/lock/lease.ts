/** One acquisition of a key, as the process that asked for it sees it: its times, its signal, and whether it is held. */

import type {
  EnterStep,
  KeptResult,
  LeaveStep,
  LineKind,
  ReleaseStep,
  RenewStep,
  Reservation,
} from '../cache/contract.ts';
import { crypto } from '../core/builtins.ts';
import { LockLostError, type LossReason } from '../core/errors.ts';
import { clockedController } from './clocked-signal.ts';
import { emitLost } from './lease-events.ts';
import type { Listed } from './lease-list.ts';
import type { LeaseTerms } from './lease-terms.ts';

/** A lease is renewed when this part of its ttl has passed. */
const RENEW_AFTER = 1 / 3;
/**
 * A lease counts as lost when this part of its ttl has passed without a renewal. The rest is for the work to stop, and for
 * clocks that run at different speeds.
 */
const SAFE_PART = 0.9;

/** Tokens are secrets of the process, numbered: as unique as a UUID each, at a fraction of the cost. */
let processSecret: string | undefined;
let leases = 0;

function newToken(): string {
  processSecret ??= crypto().randomBytes(15).toString('base64url');
  return `${processSecret}.${(leases++).toString(36)}`;
}

/**
 * - `'acquiring'`: asked for, not yet answered;
 * - `'held'`: granted, and renewed until it is released;
 * - `'lost'`: others may acquire the key, though the work goes on;
 * - `'ended'`: released, or never granted.
 */
export type LeasePhase = 'acquiring' | 'held' | 'lost' | 'ended';

/** What stays of a key that is released. */
export interface Keeping {
  /** The key is reserved for the owner's next run. */
  readonly reservation?: Reservation | undefined;
  /** The result of the work. */
  readonly result?: KeptResult | undefined;
}

/** Times are on the monotonic clock, in ms. */
export class Lease implements EnterStep, RenewStep, Listed {
  readonly terms: LeaseTerms;
  readonly storedKey: string;
  readonly owner: string;
  readonly attempt: number;
  readonly ttl: number;
  readonly notify: boolean;
  readonly places: number;
  readonly line: LineKind | undefined;
  readonly joins: boolean;
  readonly interrupts: boolean;
  readonly reservedAfter: number;
  readonly match: string | undefined;
  readonly token: string = newToken();
  fence = 0;
  /** The owner whose turn was next when it was granted. */
  next: string | undefined;
  /** For how long its owner may come again after it was released, in ms. */
  rememberFor = 0;
  phase: LeasePhase = 'acquiring';
  isListed = false;
  /** When it is to be renewed next. */
  renewAt = 0;
  /** Until when it is safe to believe that it is held, and to wait for an answer about it. */
  safeUntil = 0;
  /** The last renewal failed, or has no answer yet. */
  isUnanswered = false;
  /** Why it was lost. */
  loss: LockLostError | undefined;
  #heldSince = 0;
  /** When `maxHold` is over. */
  #renewUntil = Number.POSITIVE_INFINITY;
  #controller: AbortController | undefined;

  /**
   * @param notify - if the key is held, its release is to be notified.
   * @param joins - its owner joins the line of the key if it can't have it.
   * @param reservedAfter - see {@link EnterStep}.
   */
  constructor(
    terms: LeaseTerms,
    { notify = false, joins = true }: { notify?: boolean; joins?: boolean } = {},
    reservedAfter = 0,
  ) {
    this.terms = terms;
    this.storedKey = terms.storedKey;
    this.owner = terms.owner;
    this.attempt = terms.attempt;
    this.ttl = terms.ttl;
    this.notify = notify;
    this.places = terms.line?.places ?? 1;
    this.line = terms.line?.kind;
    this.joins = joins;
    this.interrupts = terms.line?.interrupts ?? false;
    this.reservedAfter = reservedAfter;
    this.match = terms.match;
  }

  /** Counts the lease from before its request was sent. The cache starts counting later, so the lease never ends earlier there. */
  countFrom(sentAt: number): void {
    // The answer to an earlier renewal may come after that to a later one.
    if (sentAt + this.ttl * SAFE_PART < this.safeUntil) return;
    this.renewAt = sentAt + this.ttl * RENEW_AFTER;
    this.safeUntil = sentAt + this.ttl * SAFE_PART;
  }

  /** The cache has granted it. */
  grant(fence: number): void {
    this.phase = 'held';
    this.fence = fence;
    this.#heldSince = performance.now();
    this.#renewUntil = this.#heldSince + this.terms.maxHold;
  }

  /** Whether it is known to be held at this moment. */
  get held(): boolean {
    this.noticeExpiry();
    return this.phase === 'held';
  }

  /** Loses a lease whose time is over. No timer runs while the event loop is blocked or the process is suspended. */
  noticeExpiry(): void {
    if (this.phase !== 'held' || performance.now() < this.safeUntil) return;
    this.lose(this.isUnanswered ? 'unreachable' : 'expired');
  }

  /** How long it has been held, in ms. */
  get heldFor(): number {
    return performance.now() - this.#heldSince;
  }

  get hasExceededMaxHold(): boolean {
    return performance.now() >= this.#renewUntil;
  }

  /** When the renewer has to look at it next. */
  get dueAt(): number {
    return Math.min(this.renewAt, this.safeUntil, this.#renewUntil);
  }

  /**
   * Aborts when the lease is lost. It looks at the clock itself when it is asked. Made when it is first needed: most work never
   * looks at it.
   */
  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = clockedController(() => this.noticeExpiry());
      if (this.loss) this.#controller.abort(this.loss);
    }
    return this.#controller.signal;
  }

  /** Lets another signal abort this one too. The lease stays held. */
  follow(other: AbortSignal): void {
    void this.signal;
    const abort = () => this.#controller?.abort(other.reason);
    if (other.aborted) abort();
    else other.addEventListener('abort', abort, { once: true });
  }

  lose(reason: LossReason): void {
    if (this.phase === 'held') this.phase = 'lost';
    if (this.loss) return;
    this.loss = new LockLostError(this.terms.key, reason);
    this.#controller?.abort(this.loss);
    emitLost(this.terms, this.fence, reason);
  }

  /** Aborts the signal because a newer job is to run. The lease is held, and renewed, until the work has ended. */
  interrupt(): void {
    if (this.phase !== 'held' || this.loss) return;
    this.loss = new LockLostError(this.terms.key, 'replaced');
    this.#controller?.abort(this.loss);
    emitLost(this.terms, this.fence, 'replaced');
  }

  /** @param keeping - what stays of the key when it is released. */
  releaseStep(dedupeFor: number, { reservation, result }: Keeping = {}): ReleaseStep {
    const { storedKey, token } = this;
    // That a result is not kept is said only to those who are parked for it.
    const isKept = result && (result.bytes > 0 || this.line === 'together');
    return { storedKey, token, dedupeFor, reservation, result: isKept ? result : undefined };
  }

  leaveStep({ storedKey, token, dedupeFor, reservation, result }: ReleaseStep): LeaveStep {
    const { places, line, ttl } = this;
    // Those who are parked for a result have one ttl to come for it.
    const rememberFor = line === 'together' ? ttl : this.rememberFor;
    // No spread: V8 takes microseconds for one.
    return { storedKey, token, dedupeFor, reservation, result, places, line, rememberFor };
  }
}
