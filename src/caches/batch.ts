/**
 * Collects what one turn of the event loop wants of a cache and sends it together, when the turn's promises have
 * run. Nothing waits for a timer: a lone claim leaves as early as it would have without a batch.
 */

import type { Answers, Batch, Claim, Lease, LockCache, Verdict } from './cache.ts';

/** Told the answer to one step; an `Error` where there is none. */
export type Settle<Answer> = (answer: Answer | Error) => void;

export class Batcher {
  readonly #cache: LockCache;
  #turn: Turn | undefined;

  constructor(cache: LockCache) {
    this.#cache = cache;
  }

  claim(claim: Claim, settle: Settle<Verdict>): void {
    const turn = this.#thisTurn();
    turn.claims.push(claim);
    turn.claimed.push(settle);
  }

  renew(lease: Lease, settle: Settle<boolean>): void {
    const turn = this.#thisTurn();
    turn.renewals.push(lease);
    turn.renewed.push(settle);
  }

  release(lease: Lease, settle: Settle<boolean>): void {
    const turn = this.#thisTurn();
    turn.releases.push(lease);
    turn.released.push(settle);
  }

  /** Resolves when all that was asked for in this turn has been handed to the cache, before it has answered. */
  sent(): Promise<void> {
    return this.#thisTurn().sent();
  }

  #thisTurn(): Turn {
    if (this.#turn) return this.#turn;
    this.#turn = new Turn();
    // A tick that is queued by a promise callback runs after all promise callbacks of the turn, and before any I/O.
    process.nextTick(this.#send);
    return this.#turn;
  }

  readonly #send = (): void => {
    const turn = this.#turn as Turn;
    this.#turn = undefined;
    exchange(this.#cache, turn)
      .then(answers => turn.settle(answers))
      .catch(error => turn.fail(asError(error)));
    turn.tellSent();
  };
}

class Turn implements Batch {
  readonly claims: Claim[] = [];
  readonly renewals: Lease[] = [];
  readonly releases: Lease[] = [];
  readonly claimed: Settle<Verdict>[] = [];
  readonly renewed: Settle<boolean>[] = [];
  readonly released: Settle<boolean>[] = [];
  #sent: Promise<void> | undefined;
  #resolveSent: (() => void) | undefined;

  sent(): Promise<void> {
    this.#sent ??= new Promise(resolve => {
      this.#resolveSent = resolve;
    });
    return this.#sent;
  }

  tellSent(): void {
    this.#resolveSent?.();
  }

  settle(answers: Answers): void {
    tell(this.claimed, answers.claimed);
    tell(this.renewed, answers.renewed);
    tell(this.released, answers.released);
  }

  fail(error: Error): void {
    for (const settle of this.claimed) settle(error);
    for (const settle of this.renewed) settle(error);
    for (const settle of this.released) settle(error);
  }
}

/** Asks the cache everything at once where it can, else verb by verb. One verb's failure is not the others'. */
async function exchange(cache: LockCache, batch: Turn): Promise<Answers> {
  if (cache.exchange) return cache.exchange(batch);
  const [released, renewed, claimed] = await Promise.all([
    ask(batch.releases, leases => cache.release(leases)),
    ask(batch.renewals, leases => cache.renew(leases)),
    ask(batch.claims, claims => cache.acquire(claims)),
  ]);
  return { released, renewed, claimed } as Answers;
}

async function ask<Step, Answer>(
  steps: readonly Step[],
  verb: (steps: readonly Step[]) => Promise<readonly Answer[]>,
): Promise<readonly (Answer | Error)[]> {
  if (steps.length === 0) return [];
  try {
    return await verb(steps);
  } catch (error) {
    return steps.map(() => asError(error));
  }
}

function tell<Answer>(settles: readonly Settle<Answer>[], answers: readonly (Answer | Error)[]): void {
  for (const [i, settle] of settles.entries()) {
    settle(answers[i] ?? new Error(`the cache gave ${answers.length} answers to ${settles.length} questions`));
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error), { cause: error });
}
