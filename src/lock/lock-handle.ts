/** One acquisition of a lock: what the work that runs under it is given. */

import type { KeptResult, Reservation } from '../cache/contract.ts';
import type { LossReason } from '../core/errors.ts';
import { endOfTurn } from '../core/timers.ts';
import { type Keeping, Lease } from './lease.ts';
import type { LeaseRenewer } from './lease-renewer.ts';
import type { LeaseTerms } from './lease-terms.ts';

/** How a handle is released when its work has ended. */
export interface Ending {
  /** How long the key stays held as done if the work succeeded, in ms. */
  readonly dedupeFor: number;
  /**
   * Called when the work failed: whether, and for how long, the key is reserved for the owner's next run.
   * @param isReplaced - a newer owner waits for the key, and the work was to end for it.
   */
  readonly reserve?:
    | ((error: unknown, how: { readonly isReplaced: boolean }) => Reservation | undefined)
    | undefined;
  /** Called when the work has ended: for how long its owner may come again, in ms. The error is absent where it succeeded. */
  readonly rememberFor?: ((error?: unknown) => number) | undefined;
  /** Called with what the work returned: what is kept of it. Absent where nobody asks for it. */
  readonly keep?: ((result: unknown) => KeptResult | undefined) | undefined;
}

/**
 * One acquisition of a lock. It acts on its own acquisition and on no other: a late `release()` never frees a lock that someone
 * else has acquired since.
 *
 * @example
 * ```ts
 * await using handle = await new Lock('nightly-report').acquire();
 * await writeReport({ signal: handle.signal, fence: handle.fence });
 * ```
 */
export class LockHandle implements AsyncDisposable {
  readonly #renewer: LeaseRenewer | undefined;
  readonly #lease: Lease;
  readonly #releasesInOrder: boolean;
  /** What the end of work waits for that has released the lock itself, and may not have waited. */
  #releasing: Promise<unknown> | undefined;
  #isFreed = false;

  /**
   * @param renewer - absent where nothing was acquired.
   * @param releasesInOrder - those who learn that the work has ended learn it by the cache's own connection, after the release.
   * @internal
   */
  constructor(renewer: LeaseRenewer | undefined, lease: Lease, releasesInOrder: boolean) {
    this.#renewer = renewer;
    this.#lease = lease;
    this.#releasesInOrder = releasesInOrder;
  }

  /** @internal The handle of work that runs without a lock: it is not held, and its fence is 0. */
  static unguarded(terms: LeaseTerms): LockHandle {
    const lease = new Lease(terms);
    lease.phase = 'ended';
    return new LockHandle(undefined, lease, false);
  }

  /** The key in the user's words. */
  get key(): string {
    return this.#lease.terms.key;
  }

  /**
   * Rises with every acquisition of this key; 0 where nothing is locked. Pass it to what you write to: a store that refuses a
   * fence lower than the highest it has seen can't be harmed by a holder that has not noticed the end of its lease.
   *
   * @see https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html
   */
  get fence(): number {
    return this.#lease.fence;
  }

  /** `false`: the work runs without a lock, as `mode` or `onCacheError` says. */
  get isGuarded(): boolean {
    return this.#renewer !== undefined;
  }

  /** @internal The owner whose turn is next, as far as was known when the key was acquired. */
  get next(): string | undefined {
    return this.#lease.next;
  }

  /** @internal The work has ended, and the key is kept neither as done nor as reserved. */
  get isFreed(): boolean {
    return this.#isFreed;
  }

  /** Whether the lock is known to be held at this moment: also by a job that is to end because a newer one has come (`'replaced'`). */
  get held(): boolean {
    return this.#lease.held;
  }

  /**
   * Aborts when the lock is lost, with a {@link LockLostError}, before anyone else can have acquired it. A job's signal also
   * aborts when BullMQ cancels the job, with BullMQ's reason.
   */
  get signal(): AbortSignal {
    return this.#lease.signal;
  }

  /**
   * Throws if the lock is lost. Call it before a step that must not run twice. It does nothing after `release()`, or where the
   * work runs without a lock.
   * @throws LockLostError the lock is lost.
   */
  throwIfLost(): void {
    this.#lease.noticeExpiry();
    if (this.#lease.loss) throw this.#lease.loss;
  }

  /**
   * Releases the lock, before the work ends or after it. The key is free at once, also where `dedupeFor` is set. Harmless when
   * it is repeated. Never rejects: a lock that can't be released ends with its ttl.
   * @returns whether it was held until now. `false` says that someone else may have acquired it before.
   */
  release(): Promise<boolean> {
    const renewer = this.#unreleased();
    if (!renewer) return Promise.resolve(false);
    const released = renewer.release(this.#lease, 0);
    this.#releasing = this.#releasesInOrder ? endOfTurn() : released;
    return released;
  }

  /** Releases the lock at the end of the block of an `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }

  /** @internal Lets the signal abort when another one does. */
  follow(signal: AbortSignal): void {
    this.#lease.follow(signal);
  }

  /** @internal Gives the lock up before its work began. */
  async forfeit(reason: LossReason): Promise<void> {
    this.#lease.lose(reason);
    await this.release();
  }

  /** @internal Lets the signal abort because a newer job is to run instead. The lock stays held until the work has ended. */
  interrupt(): void {
    this.#lease.interrupt();
  }

  /**
   * Runs work and releases the lock, whether it succeeds or fails. What it returns or throws comes out unchanged.
   * @internal
   */
  async runAndRelease<Result>(
    work: () => Result | PromiseLike<Result>,
    { dedupeFor, reserve, rememberFor, keep }: Ending,
  ): Promise<Result> {
    let result: Result;
    try {
      result = await work();
    } catch (error) {
      if (rememberFor) this.#lease.rememberFor = rememberFor(error);
      const isReplaced = this.#lease.loss?.reason === 'replaced';
      await this.#releaseAtEnd(0, { reservation: reserve?.(error, { isReplaced }) });
      throw error;
    }
    if (rememberFor) this.#lease.rememberFor = rememberFor();
    await this.#releaseAtEnd(dedupeFor, keep && { result: keep(result) });
    return result;
  }

  #releaseAtEnd(dedupeFor: number, keeping?: Keeping): Promise<unknown> | undefined {
    const renewer = this.#unreleased();
    this.#isFreed = this.#lease.phase === 'held' && dedupeFor === 0 && !keeping?.reservation;
    if (!renewer) return this.#releasing;
    return this.#releasesInOrder
      ? renewer.sendRelease(this.#lease, dedupeFor, keeping)
      : renewer.release(this.#lease, dedupeFor, keeping);
  }

  #unreleased(): LeaseRenewer | undefined {
    return this.#lease.phase === 'ended' ? undefined : this.#renewer;
  }
}
