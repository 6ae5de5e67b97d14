/**
 * Subscribes to releases on one connection that all listeners of a cache share. It is opened for the first listener and
 * closed after the last. Without it, or while it is lost, nobody is notified, and those who wait ask often.
 */

import type { Listener } from '../contract.ts';
import { Listeners } from './listeners.ts';

/** The connection stays open for this time after its last listener, for the next one. */
const LINGER_MS = 1000;

/** A connection on which releases are notified. */
export interface Subscription {
  /** Whether it is notified at this moment of what it subscribed to. */
  readonly isUp: boolean;
  subscribe(storedKey: string): Promise<unknown>;
  unsubscribe(storedKey: string): Promise<unknown>;
  close(): unknown;
}

/**
 * Opens a connection; gives none where there can't be any.
 * @param onRelease - to be called when a key was released.
 * @param onEnd - to be called when the connection has ended for good.
 */
export type OpenSubscription = (
  onRelease: (storedKey: string) => void,
  onEnd: () => void,
) => Promise<Subscription | undefined>;

export class Subscriber {
  readonly #open: OpenSubscription;
  readonly #listeners = new Listeners();
  readonly #subscribed = new Set<string>();
  #opening: Promise<Subscription | undefined> | undefined;
  #subscription: Subscription | undefined;
  #lingerTimer: NodeJS.Timeout | undefined;

  constructor(open: OpenSubscription) {
    this.#open = open;
  }

  listen(storedKey: string, onRelease: () => void): Listener {
    const isFirst = !this.#listeners.has(storedKey);
    const { stop } = this.#listeners.add(storedKey, onRelease, () => this.#unsubscribe(storedKey));
    if (isFirst) void this.#subscribe(storedKey);
    else if (this.#isSubscribed(storedKey)) queueMicrotask(onRelease);
    const isListening = () => this.#isSubscribed(storedKey);
    return {
      get isListening() {
        return isListening();
      },
      stop,
    };
  }

  #isSubscribed(storedKey: string): boolean {
    return this.#subscribed.has(storedKey) && this.#subscription?.isUp === true;
  }

  async #subscribe(storedKey: string): Promise<void> {
    clearTimeout(this.#lingerTimer);
    try {
      this.#opening ??= this.#connect();
      const subscription = await this.#opening;
      await subscription?.subscribe(storedKey);
      if (!subscription || subscription !== this.#subscription || !this.#listeners.has(storedKey)) return;
      this.#subscribed.add(storedKey);
      this.#listeners.notify(storedKey);
    } catch {
      // Those who wait ask often instead. The next listener tries again.
      this.#drop();
    }
  }

  async #connect(): Promise<Subscription | undefined> {
    let hasEnded = false;
    let subscription: Subscription | undefined;
    subscription = await this.#open(
      storedKey => this.#listeners.notify(storedKey),
      () => {
        hasEnded = true;
        if (subscription && subscription === this.#subscription) this.#drop();
      },
    );
    if (hasEnded) throw new Error('the connection ended while it was opened');
    this.#subscription = subscription;
    return subscription;
  }

  #unsubscribe(storedKey: string): void {
    if (this.#subscribed.delete(storedKey)) void this.#subscription?.unsubscribe(storedKey).catch(() => {});
    if (this.#listeners.size > 0) return;
    clearTimeout(this.#lingerTimer);
    this.#lingerTimer = setTimeout(() => {
      if (this.#listeners.size === 0) this.#drop();
    }, LINGER_MS).unref();
  }

  #drop(): void {
    const subscription = this.#subscription;
    this.#subscription = undefined;
    this.#opening = undefined;
    this.#subscribed.clear();
    subscription?.close();
    // Those who wait ask at once, and often from now on.
    this.#listeners.notifyAll();
  }
}
