/**
 * Gathers what comes while the datastore is at work: a few calls are under way at a time, and what waits for them leaves
 * as one. For a datastore to which each call is dear, and which does not answer in the order of sending.
 */

import type { Answers, Batch, Claim, Lease } from '../contract.ts';

/** Who waits for a call that hangs goes on without it after so long, in ms. */
const PATIENCE = 1000;

type Send = (batch: Batch) => Promise<Answers>;

export class Gatherer {
  readonly #send: Send;
  readonly #most: number;
  readonly #waiting: Gathered[] = [];
  #underWay = 0;
  #timer: NodeJS.Timeout | undefined;

  /**
   * @param send - sends a batch; never rejects.
   * @param most - how many calls are under way before others wait.
   */
  constructor(send: Send, most: number) {
    this.#send = send;
    this.#most = most;
  }

  exchange(batch: Batch): Promise<Answers> {
    if (this.#underWay < this.#most && this.#waiting.length === 0) return this.#call(batch);
    let last = this.#waiting.at(-1);
    if (!last?.takes(batch)) {
      last = new Gathered();
      this.#waiting.push(last);
      this.#timer ??= setTimeout(this.#next, PATIENCE).unref();
    }
    return last.add(batch);
  }

  async #call(batch: Batch): Promise<Answers> {
    this.#underWay++;
    try {
      return await this.#send(batch);
    } finally {
      this.#underWay--;
      if (this.#waiting.length > 0) this.#next();
    }
  }

  readonly #next = (): void => {
    const gathered = this.#waiting.shift() as Gathered;
    clearTimeout(this.#timer);
    this.#timer = this.#waiting.length > 0 ? setTimeout(this.#next, PATIENCE).unref() : undefined;
    void this.#call(gathered).then(gathered.answer);
  };
}

/** Several batches that leave as one. */
class Gathered implements Batch {
  readonly releases: Lease[] = [];
  readonly renewals: Lease[] = [];
  readonly claims: Claim[] = [];
  readonly #claimed = new Set<string>();
  readonly #answers: Promise<Answers>;
  answer!: (answers: Answers) => void;

  constructor() {
    this.#answers = new Promise(resolve => {
      this.answer = resolve;
    });
  }

  /** A claim that was given up must not land after it was let go of, and releases act first. */
  takes({ releases }: Batch): boolean {
    return !releases.some(({ token }) => this.#claimed.has(token));
  }

  /** @returns the answers to the batch that is added. */
  async add({ releases, renewals, claims }: Batch): Promise<Answers> {
    const [releasesFrom, renewalsFrom, claimsFrom] = [
      this.releases.push(...releases) - releases.length,
      this.renewals.push(...renewals) - renewals.length,
      this.claims.push(...claims) - claims.length,
    ];
    for (const { token } of claims) this.#claimed.add(token);
    const { released, renewed, claimed } = await this.#answers;
    return {
      released: released.slice(releasesFrom, releasesFrom + releases.length),
      renewed: renewed.slice(renewalsFrom, renewalsFrom + renewals.length),
      claimed: claimed.slice(claimsFrom, claimsFrom + claims.length),
    };
  }
}
