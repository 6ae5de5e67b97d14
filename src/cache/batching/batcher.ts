/**
 * Collects what one turn of the event loop wants of a cache and sends it together, when the turn's promises have
 * run. Nothing waits for a timer: a lone claim leaves as early as it would have without a batch.
 */

import { asError } from '../../core/errors.ts';
import type { Answers, Batch, Claim, Lease, LockCache, Verdict } from '../contract.ts';
import { inTurns } from './yielding.ts';

/** Whoever is told the answers; an `Error` where there is none. */
export interface Listener<Step> {
  /** The release was handed to the cache, which has not answered yet. */
  sent(step: Step): void;
  claimed(step: Step, answer: Verdict | Error): void;
  renewed(step: Step, answer: boolean | Error): void;
  released(step: Step, answer: boolean | Error): void;
}

export class Batcher<Step extends Claim & Lease> {
  readonly #cache: LockCache;
  readonly #listener: Listener<Step>;
  #turn: Turn<Step> | undefined;

  constructor(cache: LockCache, listener: Listener<Step>) {
    this.#cache = cache;
    this.#listener = listener;
  }

  claim(step: Step): void {
    this.#thisTurn().claims.push(step);
  }

  renew(step: Step): void {
    this.#thisTurn().renewals.push(step);
  }

  release(step: Step): void {
    this.#thisTurn().releases.push(step);
  }

  #thisTurn(): Turn<Step> {
    if (this.#turn) return this.#turn;
    this.#turn = new Turn();
    // A tick that is queued by a promise callback runs after all promise callbacks of the turn, and before any I/O.
    process.nextTick(this.#send);
    return this.#turn;
  }

  readonly #send = (): void => {
    const turn = this.#turn as Turn<Step>;
    this.#turn = undefined;
    exchange(this.#cache, turn).then(
      answers => this.#tell(turn, answers),
      error => this.#tell(turn, asError(error)),
    );
    inTurns(turn.releases, step => this.#listener.sent(step));
  };

  #tell(turn: Turn<Step>, answers: Answers | Error): void {
    const { releases, renewals, claims } = turn;
    const failure = answers instanceof Error ? answers : undefined;
    const { released, renewed, claimed } = answers instanceof Error ? NO_ANSWERS : answers;
    inTurns(releases, (step, i) => {
      this.#listener.released(step, released[i] ?? failure ?? missing());
    });
    renewals.forEach((step, i) => {
      this.#listener.renewed(step, renewed[i] ?? failure ?? missing());
    });
    claims.forEach((step, i) => {
      this.#listener.claimed(step, claimed[i] ?? failure ?? missing());
    });
  }
}

class Turn<Step extends Claim & Lease> implements Batch {
  readonly claims: Step[] = [];
  readonly renewals: Step[] = [];
  readonly releases: Step[] = [];
}

const NO_ANSWERS: Answers = { released: [], renewed: [], claimed: [] };

function missing(): Error {
  return new Error('the cache gave fewer answers than it was asked for');
}

/** Asks the cache everything at once where it can, else verb by verb. One verb's failure is not the others'. */
async function exchange(cache: LockCache, batch: Batch): Promise<Answers> {
  if (cache.exchange) return cache.exchange(batch);
  const [released, renewed, claimed] = await Promise.all([
    ask(batch.releases, leases => cache.release(leases)),
    ask(batch.renewals, leases => cache.renew(leases)),
    ask(batch.claims, claims => cache.acquire(claims)),
  ]);
  return { released, renewed, claimed };
}

async function ask<Step, Answer>(
  steps: readonly Step[],
  verb: (steps: readonly Step[]) => Promise<readonly (Answer | Error)[]>,
): Promise<readonly (Answer | Error)[]> {
  if (steps.length === 0) return [];
  try {
    return await verb(steps);
  } catch (error) {
    return steps.map(() => asError(error));
  }
}
