/** A lock that is held: what the work under it is given. */

import type { Keeper } from './lease-renewer.ts';
import { KeptLease, type LeaseRequest } from './lease.ts';

/** One taking of a key, as the work that runs under it sees it. */
export class HeldLock {
  /** None where nothing is held. */
  readonly #keeper: Keeper | undefined;
  readonly #lease: KeptLease;
  readonly #inOrder: boolean;

  /**
   * @param inOrder - whoever learns that the work has ended learns it by the cache's own connection, after the release.
   * @internal
   */
  constructor(keeper: Keeper | undefined, lease: KeptLease, inOrder: boolean) {
    this.#keeper = keeper;
    this.#lease = lease;
    this.#inOrder = inOrder;
  }

  /** @internal The lock of work that runs without one: it is not held, and has no fence. */
  static none(request: LeaseRequest): HeldLock {
    const lease = new KeptLease(request);
    lease.phase = 'over';
    return new HeldLock(undefined, lease, false);
  }

  /** The key, without the prefix that it has in the cache. */
  get key(): string {
    return this.#lease.name;
  }

  /**
   * Rises with every taking of this key. Pass it to what you write to: one that refuses a fence lower than the
   * highest it has seen can't be harmed by a holder that has not noticed its end.
   *
   * @see https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html
   */
  get fence(): number {
    return this.#lease.fence;
  }

  /** Whether the lease is known to last at this moment. */
  get held(): boolean {
    return this.#lease.held;
  }

  /**
   * Aborts when the lock is lost, with a {@link LockLostError}, before anyone else can have taken it; of a job also
   * when BullMQ cancels it, with BullMQ's reason.
   */
  get signal(): AbortSignal {
    return this.#lease.signal;
  }

  /**
   * Lets go, before the work ends. Harmless when it is repeated. Never rejects: a lock that can't be let go of ends
   * with its ttl.
   * @returns whether it was held until now.
   */
  release(): Promise<boolean> {
    const keeper = this.#keeping();
    return keeper ? keeper.release(this.#lease, 0) : Promise.resolve(false);
  }

  /** @internal Lets the signal abort when another does. */
  follow(signal: AbortSignal): void {
    this.#lease.follow(signal);
  }

  /** @internal Holds on for another `ms` without renewing: the owner takes it over until then, or it ends. */
  leave(ms: number): Promise<void> {
    const keeper = this.#keeping();
    return keeper ? keeper.leave(this.#lease, ms) : Promise.resolve();
  }

  /**
   * Runs work, and lets go whatever becomes of it. What it returns or throws comes out unchanged.
   * @param keepFor - how long the key stays held when the work succeeds, in ms.
   * @param onFailure - says whether the lock is held on to when the work fails, having seen to that.
   * @internal
   */
  async whileHeld<Result>(
    keepFor: number,
    work: () => Result | PromiseLike<Result>,
    onFailure?: (error: unknown) => boolean | Promise<boolean>,
  ): Promise<Result> {
    let result: Result;
    try {
      result = await work();
    } catch (error) {
      if (!(await onFailure?.(error))) await this.#end(0);
      throw error;
    }
    await this.#end(keepFor);
    return result;
  }

  #end(keepFor: number): Promise<unknown> | undefined {
    const keeper = this.#keeping();
    return this.#inOrder
      ? keeper?.releaseUnanswered(this.#lease, keepFor)
      : keeper?.release(this.#lease, keepFor);
  }

  /** Who keeps the lease, until it is let go of. */
  #keeping(): Keeper | undefined {
    const { phase } = this.#lease;
    return phase === 'over' || phase === 'releasing' || phase === 'leaving' ? undefined : this.#keeper;
  }
}
