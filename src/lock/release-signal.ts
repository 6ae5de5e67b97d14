/** Waits for the release of a key: until the cache notifies it, or for as long as it is sensible not to ask. */

import { setTimeout as delay } from 'node:timers/promises';
import type { Listener, LockCache } from '../cache/contract.ts';
import type { Holder } from '../core/holder.ts';
import { onAbort } from '../core/on-abort.ts';
import { timerDelay } from '../core/timers.ts';
import type { LeaseTerms } from './lease-terms.ts';

/** The pause before a waiter asks again: at first, and at most. */
const MIN_PAUSE_MS = 10;
const MAX_PAUSE_MS = 500;
/** The pause where the cache notifies releases. */
const NOTIFIED_PAUSE_MS = 5000;

/** A key whose release is waited for. */
export interface AwaitedKey {
  readonly cache: LockCache;
  readonly terms: Pick<LeaseTerms, 'storedKey'>;
}

/** What may end a wait early. */
export interface EndOfWait {
  /** It rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** `false`: the wait alone does not keep the process alive. */
  readonly keepsAlive?: boolean;
}

/** The release of a key, as the cache notifies it. */
export class ReleaseSignal {
  readonly #listener: Listener | undefined;
  #notify!: () => void;
  /** Resolves at the first release since the last {@link reset}. */
  notified!: Promise<void>;

  constructor({ cache, terms }: AwaitedKey) {
    this.reset();
    this.#listener = cache.listen?.(terms.storedKey, () => this.#notify());
  }

  get isListening(): boolean {
    return this.#listener?.isListening ?? false;
  }

  reset(): void {
    this.notified = new Promise(resolve => {
      this.#notify = resolve;
    });
  }

  stop(): void {
    this.#listener?.stop();
  }
}

/** Pauses grow while nothing is notified. */
export function nextPause(pause: number = MIN_PAUSE_MS / 2): number {
  return Math.min(pause * 2, MAX_PAUSE_MS);
}

/**
 * When to ask for a key again that was found held, in ms. A reservation ends without a release.
 * @param pause - where nothing is notified.
 */
export function pauseAt({ state, expiresIn }: Holder, release: ReleaseSignal, pause: number): number {
  const isNotified = release.isListening && state === 'running';
  return Math.min(jitter(isNotified ? NOTIFIED_PAUSE_MS : pause), Math.max(expiresIn, 1));
}

/** Half of a pause is random, so that waiters of different processes do not ask at the same time. */
function jitter(pause: number): number {
  return pause * (0.5 + Math.random() / 2);
}

/** Waits for a promise, but no longer than until a time. Rejects with the signal's reason. */
export async function waitUntil(
  promise: Promise<unknown>,
  time: number,
  { signal, keepsAlive = true }: EndOfWait = {},
): Promise<void> {
  // A signal that has aborted before emits no event.
  signal?.throwIfAborted();
  const isOver = new AbortController();
  const forget = signal && onAbort(signal, () => isOver.abort());
  try {
    const left = timerDelay(time - performance.now());
    await Promise.race([promise, delay(left, undefined, { signal: isOver.signal, ref: keepsAlive })]);
  } catch {
    // The delay fails only when the signal aborts it.
  } finally {
    isOver.abort();
    forget?.();
  }
  signal?.throwIfAborted();
}
