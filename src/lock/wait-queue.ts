/**
 * Waits for a key's turn. Those of one process who wait for a key stand in a line: the first asks, the others wait behind
 * it, so they are served in the order in which they came. Between processes whoever asks first is served.
 */

import { setTimeout as delay } from 'node:timers/promises';
import type { Holder, LockCache, Watch } from '../cache/contract.ts';
import { HeldLock } from './lock-handle.ts';

/** How long a wait sleeps before it asks again, in ms: at first, and at most. */
const FIRST_PAUSE = 10;
const LONGEST_PAUSE = 500;
/** The same where the cache tells when the key is let go of. */
const PAUSE_WHEN_TOLD = 5000;
/** The longest delay that a timer takes, in ms: whoever waits longer waits for as long. */
const LONGEST_DELAY = 2 ** 31 - 1;

/** Who asks, and for what. */
export interface Asker {
  readonly cache: LockCache;
  /** The key's full name in the cache. */
  readonly key: string;
  /** @param waits - to be told when whoever holds the key lets go of it. */
  ask(waits: boolean): Promise<HeldLock | Holder>;
}

export interface Wait {
  /** How long, in ms. */
  readonly waitFor: number;
  /** Ends it: it rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** There is no use in waiting for a lease of this owner. */
  readonly owner?: string | undefined;
}

/**
 * Asks for a key until it is taken, or the wait is over.
 * @returns the lock, or who held it last.
 * @throws CacheError the cache could not decide.
 */
export async function claimInTurn(asker: Asker, wait: Wait): Promise<HeldLock | Holder> {
  wait.signal?.throwIfAborted();
  const line = lines.get(asker.cache)?.get(asker.key);
  if (line) return line.stand(asker, wait);
  const first = await asker.ask(false);
  if (first instanceof HeldLock || wait.waitFor === 0 || first.owner === wait.owner) return first;
  return lineOf(asker).stand(asker, wait, first);
}

/** Those of this process who wait for one key. */
class Line {
  readonly #standing: Place[] = [];
  readonly #left: () => void;
  /** Who was met last by whoever asked, and when that was asked. */
  #met: { readonly holder: Holder; readonly askedAt: number } | undefined;

  constructor(left: () => void) {
    this.#left = left;
  }

  /** @param met - who holds the key, where who comes has asked already. */
  async stand(asker: Asker, wait: Wait, met?: Holder): Promise<HeldLock | Holder> {
    const cameAt = performance.now();
    const until = cameAt + wait.waitFor;
    const place = new Place();
    this.#standing.push(place);
    if (this.#standing[0] === place) place.call();
    try {
      await beforeTheEnd(place.called, until, wait.signal);
      // Whoever is not called in time does not push in where those before it have met a holder meanwhile. What they met before it
      // came says nothing about it, nor does a cache that has not answered since.
      const seen = this.#metSince(cameAt) ?? met;
      if (!place.isCalled && seen) return seen;
      return await this.#ask(asker, wait, until);
    } finally {
      this.#leave(place);
    }
  }

  async #ask(asker: Asker, { signal, owner }: Wait, until: number): Promise<HeldLock | Holder> {
    const bell = new Bell(asker.cache, asker.key);
    try {
      for (let pause = FIRST_PAUSE; ; pause = Math.min(pause * 2, LONGEST_PAUSE)) {
        bell.reset();
        const askedAt = performance.now();
        const claim = await asker.ask(true);
        if (claim instanceof HeldLock) return claim;
        this.#met = { holder: claim, askedAt };
        const left = until - performance.now();
        if (left <= 0 || claim.owner === owner) return claim;
        const longest = jitter(bell.listens ? PAUSE_WHEN_TOLD : pause);
        const next = Math.min(longest, Math.max(claim.expiresIn, 1), left);
        await beforeTheEnd(bell.rung, performance.now() + next, signal);
      }
    } finally {
      bell.stop();
    }
  }

  #metSince(time: number): Holder | undefined {
    return this.#met && this.#met.askedAt >= time ? this.#met.holder : undefined;
  }

  #leave(place: Place): void {
    this.#standing.splice(this.#standing.indexOf(place), 1);
    this.#standing[0]?.call();
    if (this.#standing.length === 0) this.#left();
  }
}

/** One who stands in a line, until it is its turn to ask. */
class Place {
  readonly called: Promise<void>;
  isCalled = false;
  #call!: () => void;

  constructor() {
    this.called = new Promise(resolve => {
      this.#call = resolve;
    });
  }

  call(): void {
    this.isCalled = true;
    this.#call();
  }
}

/** Rings when the cache tells that the key was let go of, since it was last reset. */
class Bell {
  readonly #watch: Watch | undefined;
  #ring!: () => void;
  rung!: Promise<void>;

  constructor(cache: LockCache, key: string) {
    this.reset();
    this.#watch = cache.watch?.(key, () => this.#ring());
  }

  get listens(): boolean {
    return this.#watch?.listens ?? false;
  }

  reset(): void {
    this.rung = new Promise(resolve => {
      this.#ring = resolve;
    });
  }

  stop(): void {
    this.#watch?.stop();
  }
}

const lines = new WeakMap<LockCache, Map<string, Line>>();

function lineOf({ cache, key }: Asker): Line {
  const ofCache = lines.get(cache) ?? new Map<string, Line>();
  lines.set(cache, ofCache);
  const line = ofCache.get(key) ?? new Line(() => ofCache.delete(key));
  ofCache.set(key, line);
  return line;
}

/** Half of a pause is random, so that those who wait do not ask at once. */
function jitter(pause: number): number {
  return pause * (0.5 + Math.random() / 2);
}

/** Waits for what is awaited, but no longer than until then. Rejects with the signal's reason. */
async function beforeTheEnd(
  awaited: Promise<unknown>,
  until: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const over = new AbortController();
  const end = () => over.abort();
  signal?.addEventListener('abort', end);
  try {
    const left = Math.min(Math.max(Math.ceil(until - performance.now()), 0), LONGEST_DELAY);
    await Promise.race([awaited, delay(left, undefined, { signal: over.signal })]);
  } catch {
    // The only way for the delay to fail is the signal's.
  } finally {
    over.abort();
    signal?.removeEventListener('abort', end);
  }
  signal?.throwIfAborted();
}
