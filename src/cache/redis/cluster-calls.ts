/**
 * What is known of a cluster, and how calls are made within it: the keys of one slot travel together, except while their slot moves from
 * one server to another.
 */

import { setTimeout as delay } from 'node:timers/promises';
import { asError } from '../../core/errors.ts';
import { hashTag } from '../../key/line-name.ts';
import type { Limits } from '../batching/split.ts';
import { MAX_KEYS } from './client.ts';

const ON_ONE_SERVER: Limits = { maxSteps: MAX_KEYS };
/** The keys of one call must share a slot. Those of one hash tag do. */
const IN_A_CLUSTER: Limits = { maxSteps: MAX_KEYS, groupOf: hashTag };
/** How long a slot counts as moving after the last sign of it. */
const MOVING_MS = 10_000;
/**
 * A call of several keys that has no answer yet is a sign that their slot moves: some clients send it again and again by themselves, for
 * seconds. Less than the time after which Valkey GLIDE gives up (250 ms).
 */
const SLOW_MS = 200;
/**
 * A call of one key is refused only where its client mixes up the redirections of calls that are under way at the same time. It is made
 * again: at once, and after 10, 20, 40, 80 and 160 ms.
 */
const MAX_TRIES = 7;
const MIN_RETRY_PAUSE_MS = 10;

/** A call of the steps on keys of one slot. */
export interface SlotCall<Answer> {
  /** Any of its keys. */
  readonly storedKey: string;
  readonly steps: number;
  /** Sends all steps in one call. */
  readonly whole: () => Promise<Answer>;
  /** Sends each step in a call of its own, one after another. */
  readonly oneByOne: () => Promise<Answer>;
}

export class ClusterCalls {
  #isCluster: boolean;
  /** The hash tags whose slots move, and until when that is believed. */
  readonly #movingUntil = new Map<string, number>();

  /** @param isCluster - false: a cluster is noticed when it refuses a call. */
  constructor(isCluster: boolean) {
    this.#isCluster = isCluster;
  }

  get isCluster(): boolean {
    return this.#isCluster;
  }

  /** What one call can carry. */
  get limits(): Limits {
    return this.#isCluster ? IN_A_CLUSTER : ON_ONE_SERVER;
  }

  /**
   * Makes a call. A cluster that refuses it has done nothing of it. While a slot moves, it refuses calls of several keys of which only some
   * have moved, and never a call of one key.
   */
  make<Answer>(call: SlotCall<Answer>): Promise<Answer> {
    if (call.steps === 1) return this.#makeSingle(call);
    if (!this.#isCluster) return this.#makeWhole(call);
    return this.#isMoving(hashTag(call.storedKey)) ? call.oneByOne() : this.#makeWatched(call);
  }

  async #makeSingle<Answer>({ whole }: SlotCall<Answer>): Promise<Answer> {
    for (let tries = 1; ; tries++) {
      try {
        return await whole();
      } catch (error) {
        if (tries === MAX_TRIES || !this.isSlotMoving(error)) throw error;
      }
      if (tries > 1) await delay(MIN_RETRY_PAUSE_MS * 2 ** (tries - 2));
    }
  }

  async #makeWatched<Answer>(call: SlotCall<Answer>): Promise<Answer> {
    const timer = setTimeout(() => this.#noticeMoving(call.storedKey), SLOW_MS).unref();
    try {
      return await this.#makeWhole(call);
    } finally {
      clearTimeout(timer);
    }
  }

  async #makeWhole<Answer>({ storedKey, whole, oneByOne }: SlotCall<Answer>): Promise<Answer> {
    try {
      const answer = await whole();
      if (this.#movingUntil.size > 0) this.#movingUntil.delete(hashTag(storedKey));
      return answer;
    } catch (error) {
      if (this.isSlotMoving(error)) this.#noticeMoving(storedKey);
      else if (this.#isCluster || !asError(error).message.includes('CROSSSLOT')) throw error;
      // Some clients and proxies do not say that they lead to a cluster.
      this.#isCluster = true;
      return oneByOne();
    }
  }

  #isMoving(tag: string): boolean {
    const until = this.#movingUntil.get(tag);
    if (until === undefined) return false;
    if (performance.now() < until) return true;
    this.#movingUntil.delete(tag);
    return false;
  }

  #noticeMoving(storedKey: string): void {
    this.#movingUntil.set(hashTag(storedKey), performance.now() + MOVING_MS);
  }

  /**
   * Whether a call was refused because of a slot that moves. A client that follows redirections gives up at some time, and reports the
   * last one. Some pass one on that came among other answers.
   */
  isSlotMoving(error: unknown): boolean {
    const { message, cause } = asError(error);
    const text = cause instanceof Error ? `${message} ${cause.message}` : message;
    if (/TRY_?AGAIN|Too many Cluster redirections.*(?:ASK|MOVED) /i.test(text)) return true;
    // Without a cluster, this client has the wrong server.
    return this.#isCluster && /\b(?:ASK|MOVED):? \d+ /i.test(text);
  }
}
