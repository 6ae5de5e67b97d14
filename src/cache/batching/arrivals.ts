/** Collects the jobs that arrive in one turn of the event loop, and announces them to a cache together. */

import { asError, CacheError } from '../../core/errors.ts';
import { getOrCreate } from '../../core/get-or-create.ts';
import { nextTick, timerDelay } from '../../core/timers.ts';
import type { Arrival, LockCache, Newest } from '../contract.ts';

interface Announcement {
  readonly arrival: Arrival;
  onAnswer(answer: Newest | Error): void;
}

export class ArrivalBatcher {
  readonly #cache: LockCache;
  #turn: Announcement[] = [];

  constructor(cache: LockCache) {
    this.#cache = cache;
  }

  /**
   * @param key - the key in the user's words, for errors.
   * @param timeoutMs - how long to wait for an answer.
   * @returns the newest job that came for the key.
   * @throws CacheError the cache did not answer, or not in time.
   */
  announce(arrival: Arrival, key: string, timeoutMs: number): Promise<Newest> {
    return new Promise<Newest>((resolve, reject) => {
      const fail = (problem: string, cause?: Error) =>
        reject(new CacheError(key, problem, cause && { cause }));
      const timer = setTimeout(() => fail('the cache did not answer in time'), timerDelay(timeoutMs)).unref();
      const onAnswer = (answer: Newest | Error) => {
        clearTimeout(timer);
        if (answer instanceof Error) fail(answer.message, answer);
        else resolve(answer);
      };
      if (this.#turn.length === 0) nextTick(this.#send);
      this.#turn.push({ arrival, onAnswer });
    });
  }

  readonly #send = async (): Promise<void> => {
    const turn = this.#turn;
    this.#turn = [];
    const answers = await this.#ask(turn.map(({ arrival }) => arrival));
    for (const [i, { onAnswer }] of turn.entries()) {
      onAnswer(answers[i] ?? new Error('the cache gave fewer answers than it was asked for'));
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

/** The one batcher of arrivals of a cache. */
export function arrivalsOf(cache: LockCache): ArrivalBatcher {
  return getOrCreate(batchers, cache, () => new ArrivalBatcher(cache));
}

const batchers = new WeakMap<LockCache, ArrivalBatcher>();
