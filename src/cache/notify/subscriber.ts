/**
 * Listens for keys that are let go of, on one connection that all who wait share. It is opened for the first of them and
 * closed when the last is gone. Where there is no such connection, or it is lost, nobody listens, and who waits asks often.
 */

import type { Watch } from '../contract.ts';
import { Ears } from './listeners.ts';

/** The connection stays open for so long after the last who waited, in ms, for the next. */
const LINGER = 1000;

/** A connection that tells of keys. */
export interface Channel {
  /** Whether it is told of what it listens to, at this moment. */
  readonly isUp: boolean;
  listen(key: string): Promise<unknown>;
  unlisten(key: string): Promise<unknown>;
  close(): unknown;
}

/**
 * Opens a connection; gives none where there can't be any.
 * @param tell - to be called when a key was let go of.
 * @param lost - to be called when the connection has ended for good.
 */
export type OpenChannel = (tell: (key: string) => void, lost: () => void) => Promise<Channel | undefined>;

export class Subscriber {
  readonly #open: OpenChannel;
  readonly #ears = new Ears();
  readonly #listening = new Set<string>();
  #opening: Promise<Channel | undefined> | undefined;
  #channel: Channel | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(open: OpenChannel) {
    this.#open = open;
  }

  watch(key: string, tell: () => void): Watch {
    const isFirst = !this.#ears.has(key);
    const { stop } = this.#ears.open(key, tell, () => this.#unlisten(key));
    if (isFirst) void this.#listen(key);
    else if (this.#isListening(key)) queueMicrotask(tell);
    const isListening = () => this.#isListening(key);
    return {
      get listens() {
        return isListening();
      },
      stop,
    };
  }

  #isListening(key: string): boolean {
    return this.#listening.has(key) && this.#channel?.isUp === true;
  }

  async #listen(key: string): Promise<void> {
    clearTimeout(this.#timer);
    try {
      this.#opening ??= this.#connect();
      const channel = await this.#opening;
      await channel?.listen(key);
      if (!channel || channel !== this.#channel || !this.#ears.has(key)) return;
      this.#listening.add(key);
      this.#ears.tell(key);
    } catch {
      // Whoever waits asks often instead. The next who waits tries again.
      this.#lose();
    }
  }

  async #connect(): Promise<Channel | undefined> {
    let ended = false;
    let channel: Channel | undefined;
    channel = await this.#open(
      key => this.#ears.tell(key),
      () => {
        ended = true;
        if (channel && channel === this.#channel) this.#lose();
      },
    );
    if (ended) throw new Error('the connection ended while it was opened');
    this.#channel = channel;
    return channel;
  }

  #unlisten(key: string): void {
    if (this.#listening.delete(key)) void this.#channel?.unlisten(key).catch(() => {});
    if (this.#ears.size > 0) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#ears.size === 0) this.#lose();
    }, LINGER).unref();
  }

  #lose(): void {
    const channel = this.#channel;
    this.#channel = undefined;
    this.#opening = undefined;
    this.#listening.clear();
    channel?.close();
    // They ask at once, and often from now on.
    this.#ears.tellAll();
  }
}
