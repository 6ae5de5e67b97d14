/** A key and its options: acquired, held and released without any queue. */

import { LockError } from '../core/errors.ts';
import {
  abortSignal,
  ms,
  optional,
  type Parser,
  parseOptions,
  text,
  withDefault,
} from '../core/validation.ts';
import { boundOwner, newOwner } from '../key/owner-id.ts';
import { checkKey } from '../key/template.ts';
import type { LockHandle } from './lock-handle.ts';
import type { AcquireAttempt, LockRequest } from './lock-request.ts';
import { checkLeaseOptions, LEASE_OPTIONS, type LeaseOptions } from './options.ts';
import { scopedRequest } from './scoped-request.ts';
import { acquireInTurn } from './wait-queue.ts';

/** Options of a {@link Lock}. Without `cache` it is kept in `caches.default`, else in the memory of this process. */
export interface LockOptions extends LeaseOptions {
  /**
   * Who the lease is for. A `Lock` with the owner of a lease reclaims it at once, and the old holder's signal aborts. Name an
   * owner where work that crashed is to go on without waiting for the ttl. Two processes that live at the same time must not
   * share it.
   * One of more than 468 characters is stored as its beginning and a hash.
   * @defaultValue a new one for each acquisition
   */
  readonly owner?: string;
}

/** How {@link Lock.acquire} waits. */
export interface WaitOptions {
  /**
   * How long to wait for the key, in whole ms. `0` does not wait. Those of one process are served in the order in which they
   * came.
   * @defaultValue 0
   */
  readonly waitFor?: number;
  /** Ends the wait: {@link Lock.acquire} rejects with its reason. */
  readonly signal?: AbortSignal;
}

const owner: Parser<string> = (value, option) => boundOwner(text(value, option));

const OPTIONS = { ...LEASE_OPTIONS, owner: optional(owner) };
const WAIT_OPTIONS = { waitFor: withDefault(0, ms(0)), signal: optional(abortSignal) };

/**
 * A lock on one key. Any number of callers may share one `Lock`: each acquisition gives out a {@link LockHandle} of its own.
 *
 * It is not re-entrant: while it is held it can't be acquired, also not through the same `Lock`.
 *
 * @example
 * ```ts
 * const lock = new Lock('nightly-report', { cache: new RedisCache(redis) });
 * await lock.run(async ({ signal }) => {
 *   await writeReport({ signal });
 * });
 * ```
 */
export class Lock {
  /** The key in the user's words. */
  readonly key: string;
  readonly #options: ReturnType<typeof parseLockOptions>;
  /** The last acquisition by the named owner, and the last attempt at one. */
  #ownersHandle: LockHandle | undefined;
  #ownersAttempt: Promise<unknown> = Promise.resolve();

  /**
   * @throws TypeError an option is unknown or has a wrong value.
   * @throws KeyError the key is empty or no string.
   */
  constructor(key: string, options: LockOptions = {}) {
    this.key = checkKey(key, 'Lock: the key');
    this.#options = parseLockOptions(options);
  }

  /**
   * Acquires the lock if it is free.
   * @returns `undefined` where it is held.
   * @throws CacheError the cache could not decide.
   * @throws TypeError the `Lock` has `dedupeFor`, which only {@link Lock.run} can apply; or its option `cache` is a name that
   *   {@link caches} does not have.
   * @example
   * ```ts
   * await using handle = await lock.tryAcquire();
   * if (handle) await writeReport({ signal: handle.signal });
   * ```
   */
  async tryAcquire(): Promise<LockHandle | undefined> {
    this.#refuseDedupe('tryAcquire');
    const attempt = await this.#attempt(this.#request(), {});
    return attempt.acquired ? attempt.handle : undefined;
  }

  /**
   * Acquires the lock, and waits for it if asked to.
   * @throws LockError it is still held after `waitFor` ms.
   * @throws CacheError the cache could not decide.
   * @throws TypeError as {@link Lock.tryAcquire}.
   * @example
   * ```ts
   * await using handle = await new Lock('nightly-report').acquire({ waitFor: 5_000 });
   * ```
   */
  async acquire(wait: WaitOptions = {}): Promise<LockHandle> {
    this.#refuseDedupe('acquire');
    return this.#acquire(wait);
  }

  /**
   * Runs work under the lock, and releases it whether the work succeeds or fails. After a success the key stays held for
   * `dedupeFor`.
   * @returns what the work returns; what it throws comes out unchanged.
   * @throws LockError the key is held. The work did not run.
   */
  async run<Result>(
    work: (handle: LockHandle) => Result | PromiseLike<Result>,
    wait: WaitOptions = {},
  ): Promise<Result> {
    const handle = await this.#acquire(wait);
    return handle.runAndRelease(() => work(handle), this.#options);
  }

  async #acquire(wait: WaitOptions): Promise<LockHandle> {
    const { waitFor, signal } = parseOptions('Lock', wait, WAIT_OPTIONS);
    const request = this.#request();
    const attempt = await acquireInTurn(
      {
        cache: request.cache,
        terms: request.terms,
        tryAcquire: how => this.#attempt(request, how),
        findHolder: () => request.findHolder(),
        findLine: () => request.findLine(),
      },
      { waitFor, signal, mayOwnLease: this.#options.owner !== undefined },
    );
    if (attempt.acquired) return attempt.handle;
    throw new LockError(this.key, attempt.holder);
  }

  #request(): LockRequest {
    return scopedRequest(this.key, this.#options.owner ?? newOwner(), this.#options);
  }

  /**
   * The acquisitions of a named owner go one after another, and none goes past a handle that is still held: it would reclaim
   * the lease of work that runs.
   */
  #attempt(request: LockRequest, how: { notify?: boolean }): Promise<AcquireAttempt> {
    if (this.#options.owner === undefined) return request.tryAcquire(how);
    const attempt = this.#ownersAttempt.then(() => this.#attemptAsOwner(request, how));
    this.#ownersAttempt = attempt.catch(() => {});
    return attempt;
  }

  async #attemptAsOwner(request: LockRequest, how: { notify?: boolean }): Promise<AcquireAttempt> {
    if (this.#ownersHandle?.held) {
      const holder = await request.findHolder();
      if (holder) return { acquired: false, holder };
    }
    const attempt = await request.tryAcquire(how);
    if (attempt.acquired) this.#ownersHandle = attempt.handle;
    return attempt;
  }

  #refuseDedupe(method: string): void {
    if (this.#options.dedupeFor === 0) return;
    throw new TypeError(
      `Lock: option 'dedupeFor' needs to know whether the work succeeded, which ${method}() can't; use run()`,
    );
  }
}

function parseLockOptions(options: LockOptions) {
  const parsed = parseOptions('Lock', options, OPTIONS);
  checkLeaseOptions('Lock', parsed);
  return parsed;
}
