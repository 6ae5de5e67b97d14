/**
 * Subscribes to releases on one connection that all listeners of a cache share. It is opened for the first listener and
 * closed after the last. Without it, or while it is lost, nobody is notified, and those who wait ask often.
 */

import { queueMicrotask } from '../../core/timers.ts';
import type { Listener } from '../contract.ts';
import { Listeners } from './listeners.ts';

/** The connection stays open for this time after its last listener, for the next one. */
const LINGER_MS = 1000;

/** A connection on which releases are notified. It may be closed at any time, also while it connects. */
export interface Subscription {
  /** Called once, before anything is subscribed to. */
  connect(): Promise<unknown>;
  /** Whether it is notified at this moment of what it subscribed to. */
  readonly isUp: boolean;
  subscribe(storedKey: string): Promise<unknown>;
  unsubscribe(storedKey: string): Promise<unknown>;
  close(): unknown;
}

/**
 * Makes a connection; gives none where there can't be any.
 * @param onRelease - to be called when a key was released.
 * @param onEnd - to be called when the connection has ended for good.
 * @param onGap - to be called when it is back after a drop: notifications may have been missed.
 */
export type OpenSubscription = (
  onRelease: (storedKey: string) => void,
  onEnd: () => void,
  onGap: () => void,
) => Subscription | undefined;

export class Subscriber {
  readonly #open: OpenSubscription;
  readonly #listeners = new Listeners();
  #connection: Connection | undefined;
  #lingerTimer: NodeJS.Timeout | undefined;

  constructor(open: OpenSubscription) {
    this.#open = open;
  }

  listen(storedKey: string, onRelease: () => void): Listener {
    clearTimeout(this.#lingerTimer);
    const isFirst = !this.#listeners.has(storedKey);
    const { stop } = this.#listeners.add(storedKey, onRelease, () => this.#onLastStopped(storedKey));
    this.#connection ??= this.#connect();
    const isListening = () => this.#connection?.isSubscribed(storedKey) === true;
    // The last listener of a key may have stopped just now, and the subscription is still there.
    if (isListening()) queueMicrotask(onRelease);
    if (isFirst) void this.#connection.update(storedKey);
    return {
      get isListening() {
        return isListening();
      },
      stop,
    };
  }

  #connect(): Connection {
    const connection: Connection = new Connection(this.#open, this.#listeners, () => {
      if (this.#connection !== connection) return;
      this.#connection = undefined;
      // Those who wait ask at once, and often from now on. The next listener tries again.
      this.#listeners.notifyAll();
    });
    for (const storedKey of [...this.#listeners.storedKeys]) void connection.update(storedKey);
    return connection;
  }

  #onLastStopped(storedKey: string): void {
    void this.#connection?.update(storedKey);
    if (this.#listeners.size > 0) return;
    clearTimeout(this.#lingerTimer);
    this.#lingerTimer = setTimeout(() => this.#connection?.end(), LINGER_MS).unref();
  }
}

/** One connection, from when it is opened until it ends. */
class Connection {
  readonly #listeners: Listeners;
  readonly #onEnd: () => void;
  readonly #connecting: Promise<void>;
  #subscription: Subscription | undefined;
  readonly #subscribed = new Set<string>();
  /** The keys whose subscription is being changed. */
  readonly #updating = new Set<string>();
  #hasEnded = false;

  /** @param onEnd - called once, when the connection has ended, or could not be opened. */
  constructor(open: OpenSubscription, listeners: Listeners, onEnd: () => void) {
    this.#listeners = listeners;
    this.#onEnd = onEnd;
    this.#connecting = this.#connect(open);
    this.#connecting.catch(() => this.end());
  }

  isSubscribed(storedKey: string): boolean {
    return this.#subscribed.has(storedKey) && this.#subscription?.isUp === true;
  }

  /** Subscribes to a key that has listeners, and unsubscribes from one that has none, until both agree. */
  async update(storedKey: string): Promise<void> {
    if (this.#updating.has(storedKey)) return;
    this.#updating.add(storedKey);
    try {
      await this.#connecting;
      const subscription = this.#subscription;
      while (subscription && !this.#hasEnded) {
        const isWanted = this.#listeners.has(storedKey);
        if (isWanted === this.#subscribed.has(storedKey)) return;
        if (isWanted) await this.#subscribe(subscription, storedKey);
        else await this.#unsubscribe(subscription, storedKey);
      }
    } catch {
      this.end();
    } finally {
      this.#updating.delete(storedKey);
    }
  }

  end(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#subscribed.clear();
    this.#onEnd();
    if (this.#subscription) closeQuietly(this.#subscription);
  }

  async #connect(open: OpenSubscription): Promise<void> {
    this.#subscription = open(
      storedKey => this.#listeners.notify(storedKey),
      () => this.end(),
      () => this.#listeners.notifyAll(),
    );
    await this.#subscription?.connect();
  }

  async #subscribe(subscription: Subscription, storedKey: string): Promise<void> {
    await subscription.subscribe(storedKey);
    this.#subscribed.add(storedKey);
    // The key may have been released before.
    this.#listeners.notify(storedKey);
  }

  async #unsubscribe(subscription: Subscription, storedKey: string): Promise<void> {
    this.#subscribed.delete(storedKey);
    await subscription.unsubscribe(storedKey);
  }
}

/** Some clients throw, or reject, when a connection that has ended is closed. */
function closeQuietly(subscription: Subscription): void {
  try {
    Promise.resolve(subscription.close()).catch(() => {});
  } catch {
    // It is closed.
  }
}
