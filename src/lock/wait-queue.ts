/**
 * Waits for a key. Those of one process who wait for a key stand in a queue: the first asks the cache, the others wait behind
 * it. So they are served in the order in which they came. Between processes the first to ask is served.
 */

import type { LineRecord, LockCache } from '../cache/contract.ts';
import { isMismatch } from '../cache/lock-rules.ts';
import { getOrCreate } from '../core/get-or-create.ts';
import type { Holder } from '../core/holder.ts';
import { processWide } from '../core/process-wide.ts';
import { within } from '../core/within.ts';
import type { LeaseTerms } from './lease-terms.ts';
import type { AcquireAttempt, FreeIfAbandoned, TryOptions } from './lock-request.ts';
import { type EndOfWait, nextPause, pauseAt, ReleaseSignal, waitUntil } from './release-signal.ts';

/** What is asked for. */
export interface WaitingRequest {
  readonly cache: LockCache;
  readonly terms: Pick<LeaseTerms, 'storedKey' | 'owner' | 'match' | 'line'>;
  readonly freeIfAbandoned?: FreeIfAbandoned | undefined;
  tryAcquire(options: TryOptions): Promise<AcquireAttempt>;
  findHolder(): Promise<Holder | undefined>;
  findLine(): Promise<LineRecord>;
}

export interface WaitTerms extends EndOfWait {
  /** How long, in ms. */
  readonly waitFor: number;
  /** The request's owner may hold the key already: a job that runs again, or a lock with a named owner. */
  readonly mayOwnLease: boolean;
  /** It is no use to wait for the lease of the request's own owner. */
  readonly waitsForOthersOnly?: boolean;
}

/**
 * Asks for a key until it is acquired or the wait is over.
 * @returns the handle, or the last holder.
 * @throws CacheError the cache could not decide.
 */
export async function acquireInTurn(request: WaitingRequest, wait: WaitTerms): Promise<AcquireAttempt> {
  wait.signal?.throwIfAborted();
  if (wait.waitFor === 0) return ask(request, {}, wait);
  // The waiters wait for the very lease that its owner can reclaim: behind them it would wait for itself.
  if (wait.mayOwnLease && findQueue(request) && (await ownsLease(request))) {
    const attempt = await ask(request, {}, wait);
    if (attempt.acquired) return attempt;
  }
  return queueOf(request).wait(request, wait);
}

async function ownsLease(request: WaitingRequest): Promise<boolean> {
  const { line } = request.terms;
  // Of several holders it may be any.
  if (line && line.places > 1) return (await request.findLine()).holds;
  const holder = await request.findHolder();
  return holder !== undefined && holder.state !== 'done' && holder.owner === request.terms.owner;
}

/** The waiters of this process for one key. */
class WaitQueue {
  readonly #waiters: Waiter[] = [];
  readonly #onEmpty: () => void;
  /** The holder that was found last, and when the cache was asked. */
  #lastFound: { readonly holder: Holder; readonly askedAt: number } | undefined;

  constructor(onEmpty: () => void) {
    this.#onEmpty = onEmpty;
  }

  async wait(request: WaitingRequest, wait: WaitTerms): Promise<AcquireAttempt> {
    const cameAt = performance.now();
    const until = cameAt + wait.waitFor;
    const waiter = new Waiter(request, cameAt);
    this.#waiters.push(waiter);
    if (this.#waiters[0] === waiter) waiter.serve();
    else if (request.terms.match !== undefined) void lookForMismatch(request, waiter);
    try {
      if (!waiter.isServed) await waitUntil(waiter.served, until, wait);
      // A waiter whose time is over before its turn came does not push in if the key was found held since it came. What was
      // found before it came says nothing about it, and neither does a cache that has not answered.
      const holder = waiter.mismatch ?? this.#foundSince(cameAt);
      if (!waiter.isServed && holder) return { acquired: false, holder };
      return await this.#acquire(request, wait, until);
    } finally {
      this.#leave(waiter);
    }
  }

  async #acquire(request: WaitingRequest, wait: WaitTerms, until: number): Promise<AcquireAttempt> {
    const { waitsForOthersOnly } = wait;
    // Most keys are free when they are asked for, and nobody listens to these.
    let release = this.#lastFound && new ReleaseSignal(request);
    const { freeIfAbandoned = holder => this.#freeByJob(holder, until) } = request;
    try {
      for (let pause = nextPause(); ; pause = nextPause(pause)) {
        release?.reset();
        const askedAt = performance.now();
        const attempt = await ask(request, { notify: release !== undefined, freeIfAbandoned }, wait);
        if (attempt.acquired) return attempt;
        const { holder } = attempt;
        this.#lastFound = { holder, askedAt };
        if (holder.match !== undefined) for (const waiter of this.#waiters) waiter.notice(holder, askedAt);
        const left = until - performance.now();
        const isOwn = waitsForOthersOnly === true && holder.owner === request.terms.owner;
        if (left <= 0 || isOwn || isMismatch(request.terms, holder)) return attempt;
        if (!release) {
          // It asks again at once: the key may have been released before anyone listened.
          release = new ReleaseSignal(request);
          continue;
        }
        const end = performance.now() + Math.min(pauseAt(holder, release, pause), left);
        await waitUntil(release.notified, end, wait);
      }
    } finally {
      release?.stop();
    }
  }

  /** A lock that waits can't ask BullMQ about the job that a key is reserved for. A job that waits behind it can. */
  #freeByJob(holder: Holder, until: number): Promise<boolean> | false {
    if (holder.state !== 'reserved') return false;
    const job = this.#waiters.find(({ request }) => request.freeIfAbandoned)?.request;
    // Where it fails, so does the job itself when it is its turn.
    const freeing = job?.freeIfAbandoned?.(holder);
    return freeing ? within(until - performance.now(), freeing).then(Boolean, () => false) : false;
  }

  #foundSince(time: number): Holder | undefined {
    return this.#lastFound && this.#lastFound.askedAt >= time ? this.#lastFound.holder : undefined;
  }

  #leave(waiter: Waiter): void {
    this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
    this.#waiters[0]?.serve();
    if (this.#waiters.length === 0) this.#onEmpty();
  }
}

/** Behind the others a waiter would not learn that the key is held for other data. Never rejects: it learns that when it is its turn. */
async function lookForMismatch(request: WaitingRequest, waiter: Waiter): Promise<void> {
  try {
    const askedAt = performance.now();
    const holder = await request.findHolder();
    if (holder) waiter.notice(holder, askedAt);
  } catch {
    // The cache could not say.
  }
}

/**
 * Asks for a key. A datastore that is silent does not keep someone who leaves: a key that is acquired for one who has left is released.
 * @throws any the reason of the signal, when it aborts.
 */
async function ask(request: WaitingRequest, how: TryOptions, wait: EndOfWait): Promise<AcquireAttempt> {
  const asked = request.tryAcquire(how);
  if (!wait.signal) return asked;
  try {
    await waitUntil(asked, Number.POSITIVE_INFINITY, wait);
  } catch (reason) {
    asked.then(
      late => late.acquired && late.handle.release(),
      () => {},
    );
    throw reason;
  }
  return asked;
}

/** One place in a queue. */
class Waiter {
  /** Resolves when it is the waiter's turn to ask. */
  readonly served: Promise<void>;
  isServed = false;
  /** A holder that was found, and for whose data it is no duplicate. It need not wait for its turn. */
  mismatch: Holder | undefined;
  readonly request: WaitingRequest;
  readonly #cameAt: number;
  #serve!: () => void;

  constructor(request: WaitingRequest, cameAt: number) {
    this.request = request;
    this.#cameAt = cameAt;
    this.served = new Promise(resolve => {
      this.#serve = resolve;
    });
  }

  serve(): void {
    this.isServed = true;
    this.#serve();
  }

  /** @param askedAt - what was found before the waiter came says nothing about it. */
  notice(holder: Holder, askedAt: number): void {
    if (this.isServed || askedAt < this.#cameAt || !isMismatch(this.request.terms, holder)) return;
    this.mismatch = holder;
    this.#serve();
  }
}

/**
 * The wait queues of the process, by datastore and stored key. Those who wait for a key stand in one queue, whichever workers,
 * queues and connections they come by.
 */
const queues = processWide('wait-queues', () => new Map<string | LockCache, Map<string, WaitQueue>>());

function findQueue({ cache, terms }: WaitingRequest): WaitQueue | undefined {
  return queues.get(cache.datastore ?? cache)?.get(terms.storedKey);
}

function queueOf({ cache, terms }: WaitingRequest): WaitQueue {
  const datastore = cache.datastore ?? cache;
  const { storedKey } = terms;
  const ofDatastore = getOrCreate(queues, datastore, () => new Map<string, WaitQueue>());
  const onEmpty = () => {
    ofDatastore.delete(storedKey);
    if (ofDatastore.size === 0) queues.delete(datastore);
  };
  return getOrCreate(ofDatastore, storedKey, () => new WaitQueue(onEmpty));
}
