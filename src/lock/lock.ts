/** One key: taken, held and let go. */

import type { Holder } from '../cache/contract.ts';
import { type Claimant, scopedClaimant } from './lock-request.ts';
import { LockError } from '../core/errors.ts';
import { HeldLock } from './lock-handle.ts';
import { checkKey } from '../key/template.ts';
import {
  type CheckedLeaseOptions,
  checkLeaseOptions,
  checkMs,
  checkText,
  type LeaseOptions,
} from './options.ts';
import { newOwner } from './owner-id.ts';
import { claimInTurn } from './wait-queue.ts';

/** Options of a {@link Lock}. Without `cache` it is kept in `caches.default`, else in the memory of this process. */
export interface LockOptions extends LeaseOptions {
  /**
   * Who the lease is for. A claim by the owner of a lease takes the lease over at once, whose old holder's signal
   * aborts: give a name where a work that crashed is to go on without waiting for the ttl. Two that live at once
   * must not share it.
   * @defaultValue a new one for each taking
   */
  readonly owner?: string;
}

/** How {@link Lock.acquire} waits. */
export interface WaitOptions {
  /**
   * How long to wait for a holder to let go, in whole ms. `0` does not wait. Those of one process are served in the order
   * in which they came.
   * @defaultValue 0
   */
  readonly waitFor?: number;
  /** Ends the wait: {@link Lock.acquire} rejects with its reason. */
  readonly signal?: AbortSignal;
}

/**
 * A lock on one key. It is not re-entrant: while it is held, it can't be taken, through the same `Lock` either.
 *
 * @example
 * ```ts
 * const lock = new Lock('nightly-report', { cache: new RedisCache(redis) });
 * await lock.run(async ({ signal }) => {
 *   await writeReport({ signal });
 * });
 * ```
 */
export class Lock implements AsyncDisposable {
  readonly key: string;
  readonly #options: CheckedLeaseOptions;
  readonly #owner: string | undefined;
  #current: HeldLock | undefined;
  #lastClaim: Promise<unknown> = Promise.resolve();

  /**
   * @throws TypeError an option is unknown or has a wrong value.
   * @throws KeyError the key is empty or no text.
   */
  constructor(key: string, options: LockOptions = {}) {
    const of = 'Lock';
    this.key = checkKey(key, `${of}: the key`);
    this.#options = checkLeaseOptions(options, of, ['owner']);
    if (options.owner !== undefined) checkText(options.owner, of, 'owner');
    this.#owner = options.owner;
  }

  /** Whether the lock is held through this object, and known to last at this moment. */
  get held(): boolean {
    return this.#current?.held ?? false;
  }

  /**
   * Aborts when the lock is lost, with a {@link LockLostError}, before anyone else can have taken it. Each taking
   * has a signal of its own. Before the first it is aborted, as nothing is held.
   */
  get signal(): AbortSignal {
    return this.#current?.signal ?? AbortSignal.abort(new Error(`lock '${this.key}' was not taken yet`));
  }

  /** Rises with every taking of the key; 0 before the first. See {@link HeldLock.fence}. */
  get fence(): number {
    return this.#current?.fence ?? 0;
  }

  /**
   * Takes the lock if it is free.
   * @returns whether it was taken.
   * @throws CacheError the cache could not decide.
   * @throws TypeError the option `cache` is a name that {@link caches} does not have.
   */
  async tryAcquire(): Promise<boolean> {
    const claim = await this.#claim(this.#claimant(), false);
    return claim instanceof HeldLock;
  }

  /**
   * Takes the lock, waiting for its holder where asked to.
   * @returns this lock, for `await using`.
   * @throws LockError it is still held after `waitFor` ms.
   * @throws CacheError the cache could not decide.
   * @example
   * ```ts
   * await using lock = await new Lock('nightly-report').acquire({ waitFor: 5_000 });
   * ```
   */
  async acquire(wait: WaitOptions = {}): Promise<this> {
    await this.#hold(wait);
    return this;
  }

  /**
   * Lets go. Harmless when it is not held. Never rejects: a lock that can't be let go of ends with its ttl.
   * @returns whether it was held until now; `false` says that another may have come in before the work ended.
   */
  async release(): Promise<boolean> {
    return (await this.#current?.release()) ?? false;
  }

  /**
   * Runs work under the lock, and lets go whatever becomes of it.
   * @returns what the work returns; what it throws comes out unchanged.
   * @throws LockError the key is held. The work did not run.
   */
  async run<Result>(
    work: (lock: HeldLock) => Result | PromiseLike<Result>,
    wait: WaitOptions = {},
  ): Promise<Result> {
    const held = await this.#hold(wait);
    return held.whileHeld(this.#options.keepFor, () => work(held));
  }

  /** Lets go at the end of the block of an `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }

  async #hold({ waitFor = 0, signal }: WaitOptions): Promise<HeldLock> {
    checkMs(waitFor, 'Lock', 'waitFor', 0);
    const claimant = this.#claimant();
    const asker = {
      cache: claimant.cache,
      key: claimant.key,
      ask: (waits: boolean) => this.#claim(claimant, waits),
    };
    const claim = await claimInTurn(asker, { waitFor, signal });
    if (claim instanceof HeldLock) return claim;
    throw new LockError(this.key, claim);
  }

  /** The cache is looked up now: {@link caches} may have another by now. */
  #claimant(): Claimant {
    return scopedClaimant(this.key, this.#options, this.#owner ?? newOwner());
  }

  /** One after the other where they have one owner: they would take the lock over from each other. */
  #claim(claimant: Claimant, waits: boolean): Promise<HeldLock | Holder> {
    if (this.#owner === undefined) return this.#ask(claimant, waits);
    const claim = this.#lastClaim.then(() => this.#ask(claimant, waits));
    this.#lastClaim = claim.catch(() => {});
    return claim;
  }

  async #ask(claimant: Claimant, waits: boolean): Promise<HeldLock | Holder> {
    if (this.held && this.#owner !== undefined) {
      const [holder] = await claimant.cache.inspect([claimant.key]);
      if (holder) return holder;
    }
    const claim = await claimant.ask(waits);
    if (claim instanceof HeldLock) this.#current = claim;
    return claim;
  }
}
