/**
 * Keeps the leases of one cache alive. A single timer renews all leases that are due in one batch, and lets a lease know when
 * it is lost. The same timer bounds every request, so that a cache that does not answer holds nobody up for longer than a
 * lease lasts.
 */

import { Batcher } from '../cache/batching/batcher.ts';
import type { EnterResult, LockCache, ReleaseStep } from '../cache/contract.ts';
import { refusalOf } from '../cache/refusals.ts';
import { CacheError, type LossReason } from '../core/errors.ts';
import { getOrCreate } from '../core/get-or-create.ts';
import { timerDelay } from '../core/timers.ts';
import type { Keeping, Lease } from './lease.ts';
import { emitAcquired, emitCacheError, emitReleased, emitRenewed, emitReserved } from './lease-events.ts';
import { LeaseList } from './lease-list.ts';
import { type Deadline, type Deadlines, PersistentStep, type StepToSend } from './persistent-step.ts';

/** Leases that are due within this part of their ttl are renewed together; a failed renewal is tried again after it. */
const RENEW_TOGETHER = 1 / 12;
/** A renewal without an answer is sent again after this part of the ttl. */
const RENEW_UNANSWERED_AFTER = 1 / 6;
/** How many leases are renewed in one turn of the event loop. More would hold up the very work that they are for. */
const MAX_RENEWALS_PER_TURN = 4000;
/** The pause before an acquisition is sent again that the cache could not decide at that moment. */
const RETRY_PAUSE_MS = 10;
const TOO_LATE = 'the cache did not answer in time';

export class LeaseRenewer {
  readonly #cache: LockCache;
  readonly #batcher: Batcher;
  /** The leases that are held. */
  readonly #leases = new LeaseList<Lease>();
  /** The answers that someone waits for, and the steps that are sent again if they are not answered. */
  readonly #listedDeadlines = new LeaseList<Deadline>();
  readonly #deadlines: Deadlines = {
    add: deadline => {
      this.#listedDeadlines.add(deadline);
      this.#wakeAt(deadline.at);
    },
    delete: deadline => this.#listedDeadlines.delete(deadline),
  };
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Number.POSITIVE_INFINITY;

  constructor(cache: LockCache) {
    this.#cache = cache;
    this.#batcher = new Batcher(cache);
  }

  /**
   * Asks for the lease's key. Once it is granted, the lease is renewed until it is released or lost.
   * @throws CacheError the cache could not decide, or not in time.
   */
  acquire(lease: Lease): Promise<EnterResult> {
    lease.countFrom(performance.now());
    return new Promise((resolve, reject) => {
      const deadline = this.#setDeadline(lease.safeUntil, () => reject(this.#abandon(lease, TOO_LATE)));
      const onAnswer = (answer: EnterResult | Error): void => {
        if (answer instanceof Error && deadline.isListed && refusalOf(answer)?.isTransient) {
          setTimeout(() => deadline.isListed && this.#ask(lease, onAnswer), RETRY_PAUSE_MS);
          return;
        }
        const isAwaited = this.#deadlines.delete(deadline);
        if (answer instanceof Error) {
          if (isAwaited) reject(this.#abandon(lease, answer.message, answer));
          else if (!refusalOf(answer)) this.#releaseLate(lease);
        } else if (!answer.acquired) {
          lease.phase = 'ended';
          resolve(answer);
        } else if (!isAwaited) {
          this.#releaseLate(lease);
        } else if (performance.now() >= lease.safeUntil) {
          reject(this.#abandon(lease, TOO_LATE));
        } else {
          this.#keep(lease, answer);
          resolve(answer);
        }
      };
      this.#ask(lease, onAnswer);
    });
  }

  /**
   * Releases a lease. Never rejects: what can't be released ends with its ttl.
   * @param dedupeFor - how long the key stays held as done, in ms.
   * @param keeping - what stays of the key.
   * @returns whether it was held until now. Known when the cache has answered, or when the lease is no longer safe.
   */
  release(lease: Lease, dedupeFor: number, keeping?: Keeping): Promise<boolean> {
    const wasHeld = this.#end(lease);
    return new Promise(resolve => {
      // What was lost because `maxHold` was over is stored until its ttl ends.
      if (!wasHeld && performance.now() >= lease.safeUntil) {
        this.#release(lease, dedupeFor, keeping, { onSent: () => resolve(false) });
        return;
      }
      this.#release(lease, dedupeFor, keeping, {
        onAnswer: answer => resolve(wasHeld && answer === true),
        onOverdue: () => resolve(false),
      });
    });
  }

  /**
   * Releases a lease and resolves as soon as the release is sent. That is enough where those who must not find the key held
   * learn of the end by the same connection, later.
   */
  sendRelease(lease: Lease, dedupeFor: number, keeping?: Keeping): Promise<void> {
    this.#end(lease);
    return new Promise(resolve => {
      this.#release(lease, dedupeFor, keeping, { onSent: resolve });
    });
  }

  #ask(lease: Lease, onAnswer: (answer: EnterResult | Error) => void): void {
    if (lease.terms.line) this.#batcher.enter(lease, onAnswer);
    else this.#batcher.acquire(lease, onAnswer);
  }

  #keep(lease: Lease, { fence, reclaimed, next }: EnterResult & { acquired: true }): void {
    lease.grant(fence);
    lease.next = next;
    this.#leases.add(lease);
    this.#wakeAt(lease.dueAt);
    if (reclaimed) this.#loseEarlierRuns(lease);
    emitAcquired(lease.terms, fence, { reclaimed });
  }

  /** An earlier run of the same owner may still be going in this process. It need not wait for its renewal to fail. */
  #loseEarlierRuns(reclaimed: Lease): void {
    for (const lease of this.#leases) {
      const isEarlier = lease.storedKey === reclaimed.storedKey && lease.owner === reclaimed.owner;
      if (isEarlier && lease !== reclaimed) this.#lose(lease, 'revoked');
    }
  }

  /** Gives an acquisition up, and releases what it may have acquired all the same, or may acquire when it arrives late. */
  #abandon(lease: Lease, problem: string, cause?: Error): CacheError {
    lease.phase = 'ended';
    if (!cause || !refusalOf(cause)) this.#releaseLate(lease);
    const error = new CacheError(lease.terms.key, problem, cause && { cause });
    emitCacheError(lease.terms, 'acquire', error);
    return error;
  }

  #releaseLate(lease: Lease): void {
    const step = lease.releaseStep(0);
    const until = performance.now() + lease.ttl;
    this.#sendUntilAnswered({
      send: onAnswer => this.#sendRelease(lease, step, onAnswer),
      ttl: lease.ttl,
      until,
      onError: ignore,
      onAnswer: ignore,
      isAwaited: false,
    });
  }

  #release(
    lease: Lease,
    dedupeFor: number,
    keeping: Keeping | undefined,
    { onAnswer = ignore, onOverdue = ignore, onSent }: ReleaseContinuations,
  ): void {
    const step = lease.releaseStep(dedupeFor, keeping);
    const { reservation } = step;
    let hasFailed = false;
    this.#sendUntilAnswered({
      send: onAnswer => this.#sendRelease(lease, step, onAnswer, onSent),
      ttl: lease.ttl,
      until: lease.safeUntil,
      onError(error) {
        // One event for a release, however often it is tried.
        if (!hasFailed) emitCacheError(lease.terms, 'release', error);
        hasFailed = true;
      },
      onAnswer: (answer, isFirstTry) => {
        // A release whose answer got lost has freed the key, and finds nothing when it is sent again.
        const isReleased = answer === true || (answer === false && !isFirstTry);
        if (isReleased && reservation) emitReserved(lease.terms, lease.fence, lease.heldFor, reservation);
        else if (isReleased) emitReleased(lease.terms, lease.fence, lease.heldFor, dedupeFor);
        if (isReleased || answer !== false) onAnswer(isReleased || answer);
        else this.#loseUnlessFree(lease, () => onAnswer(false));
      },
      onOverdue,
      isAwaited: onAnswer !== ignore,
    });
  }

  #sendRelease(
    lease: Lease,
    step: ReleaseStep,
    onAnswer: (answer: boolean | Error) => void,
    onSent?: () => void,
  ): void {
    const { line } = lease.terms;
    if (!line) {
      this.#batcher.release(step, onAnswer, onSent);
      return;
    }
    this.#batcher.leave(
      lease.leaveStep(step),
      answer => {
        if (answer instanceof Error) {
          onAnswer(answer);
          return;
        }
        if (answer.next !== undefined) line.onNext(answer.next);
        if (answer.answered) line.onAnswered(answer.answered);
        onAnswer(answer.released);
      },
      onSent,
    );
  }

  /**
   * The cache says that the lease was gone when it was released. A client may have sent the release twice by itself, after a dropped
   * connection. So only a key that someone has is taken for a loss.
   */
  #loseUnlessFree(lease: Lease, onKnown: () => void): void {
    const deadline = this.#setDeadline(lease.safeUntil, onKnown);
    const finish = (isFree: boolean): void => {
      if (!isFree) lease.lose('revoked');
      if (this.#deadlines.delete(deadline)) onKnown();
    };
    this.#cache.inspect([lease.storedKey]).then(
      ([record]) => finish(!record),
      // Then the answer to the release is all that is known.
      () => finish(false),
    );
  }

  #sendUntilAnswered(step: StepToSend): void {
    new PersistentStep(step, this.#deadlines).send();
  }

  /**
   * Ends the renewals of a lease.
   * @returns whether it was held until now. That its time is over may be noticed only here: timers may not have run since.
   */
  #end(lease: Lease): boolean {
    const wasHeld = lease.held;
    this.#leases.delete(lease);
    lease.phase = 'ended';
    return wasHeld;
  }

  #lose(lease: Lease, reason: LossReason): void {
    this.#leases.delete(lease);
    lease.lose(reason);
  }

  #renew(lease: Lease, now: number): void {
    lease.isUnanswered = true;
    // It is sent again if no answer comes: some clients drop what was under way with their connection.
    lease.renewAt = now + lease.ttl * RENEW_UNANSWERED_AFTER;
    this.#batcher.renew(lease, answer => this.#onRenewed(lease, now, answer));
  }

  #onRenewed(lease: Lease, sentAt: number, answer: boolean | Error): void {
    // What was lost meanwhile, because `maxHold` is over, is stored for longer too.
    if (answer === true) lease.countFrom(sentAt);
    if (lease.phase !== 'held') return;
    if (answer === false) {
      this.#lose(lease, 'revoked');
      return;
    }
    if (answer === true) {
      lease.isUnanswered = false;
      emitRenewed(lease.terms, lease.fence, lease.ttl);
    } else {
      lease.renewAt = performance.now() + lease.ttl * RENEW_TOGETHER;
      emitCacheError(lease.terms, 'renew', answer);
    }
    this.#wakeAt(lease.dueAt);
  }

  #setDeadline(at: number, onMissed: () => void): Deadline {
    const deadline: Deadline = { at, onMissed, isListed: false };
    this.#deadlines.add(deadline);
    return deadline;
  }

  #wakeAt(at: number): void {
    if (at >= this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = at;
    const delay = timerDelay(Math.max(at - performance.now(), 1));
    this.#timer = setTimeout(this.#onTimer, delay).unref();
  }

  readonly #onTimer = (): void => {
    this.#timerAt = Number.POSITIVE_INFINITY;
    const now = performance.now();
    const next = Math.min(this.#missDeadlines(now), this.#renewDueLeases(now));
    if (next !== Number.POSITIVE_INFINITY) this.#wakeAt(next);
  };

  /** @returns when the next deadline is. */
  #missDeadlines(now: number): number {
    let next = Number.POSITIVE_INFINITY;
    for (const deadline of this.#listedDeadlines) {
      if (now >= deadline.at) deadline.onMissed(now);
      if (now >= deadline.at) this.#listedDeadlines.delete(deadline);
      else if (deadline.isListed) next = Math.min(next, deadline.at);
    }
    return next;
  }

  /** @returns when the next lease is due. */
  #renewDueLeases(now: number): number {
    let next = Number.POSITIVE_INFINITY;
    let renewals = 0;
    for (const lease of this.#leases) {
      if (!lease.held) {
        this.#leases.delete(lease);
        continue;
      }
      if (lease.hasExceededMaxHold) {
        this.#lose(lease, 'max-hold-exceeded');
        continue;
      }
      if (now >= lease.renewAt - lease.ttl * RENEW_TOGETHER) {
        if (renewals++ === MAX_RENEWALS_PER_TURN) return now;
        this.#renew(lease, now);
      }
      next = Math.min(next, lease.dueAt);
    }
    return next;
  }
}

function ignore(): void {}

/** What follows a release. */
interface ReleaseContinuations {
  readonly onAnswer?: (answer: boolean | Error) => void;
  /** The lease is no longer safe, and there is no answer yet. */
  readonly onOverdue?: () => void;
  readonly onSent?: () => void;
}

/** The one renewer of a cache. */
export function renewerOf(cache: LockCache): LeaseRenewer {
  return getOrCreate(renewers, cache, () => new LeaseRenewer(cache));
}

const renewers = new WeakMap<LockCache, LeaseRenewer>();
