/** Tells a cache which jobs came, those of one turn of the event loop together. */

import type { Arrival, LockCache, Newest } from '../contract.ts';
import { asError, CacheError } from '../../core/errors.ts';

interface Announced {
  readonly arrival: Arrival;
  answer(newest: Newest | PromiseLike<Newest>): void;
}

export class Announcer {
  readonly #cache: LockCache;
  #turn: Announced[] = [];

  constructor(cache: LockCache) {
    this.#cache = cache;
  }

  /**
   * @param name - the key as its user knows it, for errors.
   * @param within - how long to wait for an answer, in ms.
   * @returns the newest job that came for the key.
   * @throws CacheError the cache did not tell, or not in time.
   */
  announce(arrival: Arrival, name: string, within: number): Promise<Newest> {
    return new Promise<Newest>((resolve, reject) => {
      const fail = (problem: string, cause?: Error) =>
        reject(new CacheError(name, problem, cause && { cause }));
      const timer = setTimeout(() => fail('the cache did not answer in time'), within).unref();
      const answer = (newest: Newest | PromiseLike<Newest>) =>
        Promise.resolve(newest)
          .then(resolve, error => fail(asError(error).message, asError(error)))
          .finally(() => clearTimeout(timer));
      if (this.#turn.length === 0) process.nextTick(this.#send);
      this.#turn.push({ arrival, answer });
    });
  }

  readonly #send = async (): Promise<void> => {
    const turn = this.#turn;
    this.#turn = [];
    const answers = await this.#ask(turn.map(({ arrival }) => arrival));
    for (const [i, { answer }] of turn.entries()) {
      const newest = answers[i] ?? new Error('the cache gave fewer answers than it was asked for');
      answer(newest instanceof Error ? Promise.reject(newest) : newest);
    }
  };

  async #ask(arrivals: readonly Arrival[]): Promise<readonly (Newest | Error)[]> {
    try {
      if (!this.#cache.announce) throw new Error("it has no method 'announce', which 'keep-last' needs");
      return await this.#cache.announce(arrivals);
    } catch (error) {
      return arrivals.map(() => asError(error));
    }
  }
}

/** The one announcer of a cache. */
export function announcerOf(cache: LockCache): Announcer {
  const announcer = announcers.get(cache) ?? new Announcer(cache);
  announcers.set(cache, announcer);
  return announcer;
}

const announcers = new WeakMap<LockCache, Announcer>();
