/**
 * Coalesces batches: a few calls are under way at a time, and what comes meanwhile leaves as one call. For a datastore where
 * each call is expensive and which does not answer in the order of sending.
 */

import type { AcquireStep, Batch, BatchResults, ReleaseStep, RenewStep } from '../contract.ts';

/** A batch does not wait longer than this for calls that hang. */
const MAX_WAIT_MS = 1000;

type Send = (batch: Batch) => Promise<BatchResults>;

export class Coalescer {
  readonly #send: Send;
  readonly #maxCalls: number;
  readonly #waiting: CoalescedBatch[] = [];
  #calls = 0;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param send - sends a batch; never rejects.
   * @param maxCalls - how many calls are under way before others wait.
   */
  constructor(send: Send, maxCalls: number) {
    this.#send = send;
    this.#maxCalls = maxCalls;
  }

  exchange(batch: Batch): Promise<BatchResults> {
    if (this.#calls < this.#maxCalls && this.#waiting.length === 0) return this.#call(batch);
    let last = this.#waiting.at(-1);
    if (!last?.canTake(batch)) {
      last = new CoalescedBatch();
      this.#waiting.push(last);
      this.#timer ??= setTimeout(this.#sendNext, MAX_WAIT_MS).unref();
    }
    return last.add(batch);
  }

  async #call(batch: Batch): Promise<BatchResults> {
    this.#calls++;
    try {
      return await this.#send(batch);
    } finally {
      this.#calls--;
      if (this.#waiting.length > 0) this.#sendNext();
    }
  }

  readonly #sendNext = (): void => {
    const next = this.#waiting.shift() as CoalescedBatch;
    clearTimeout(this.#timer);
    this.#timer = this.#waiting.length > 0 ? setTimeout(this.#sendNext, MAX_WAIT_MS).unref() : undefined;
    void this.#call(next).then(next.answer);
  };
}

/** Several batches that leave as one. */
class CoalescedBatch implements Batch {
  readonly releases: ReleaseStep[] = [];
  readonly renewals: RenewStep[] = [];
  readonly acquisitions: AcquireStep[] = [];
  readonly #acquiring = new Set<string>();
  readonly #results: Promise<BatchResults>;
  answer!: (results: BatchResults) => void;

  constructor() {
    this.#results = new Promise(resolve => {
      this.answer = resolve;
    });
  }

  /** Releases act first. So a release must not join the batch of its own acquisition: it would act before it. */
  canTake({ releases }: Batch): boolean {
    return !releases.some(({ token }) => this.#acquiring.has(token));
  }

  /** @returns the results of the batch that is added. */
  async add({ releases, renewals, acquisitions }: Batch): Promise<BatchResults> {
    const firstRelease = this.releases.push(...releases) - releases.length;
    const firstRenewal = this.renewals.push(...renewals) - renewals.length;
    const firstAcquisition = this.acquisitions.push(...acquisitions) - acquisitions.length;
    for (const { token } of acquisitions) this.#acquiring.add(token);
    const { released, renewed, acquired } = await this.#results;
    return {
      released: released.slice(firstRelease, firstRelease + releases.length),
      renewed: renewed.slice(firstRenewal, firstRenewal + renewals.length),
      acquired: acquired.slice(firstAcquisition, firstAcquisition + acquisitions.length),
    };
  }
}
