/**
 * A job whose turn comes within milliseconds waits for it in its slot. To park it, and to fetch it again, would cost more. That is known
 * where its worker holds the key already, and its runs are short.
 */

import type { WorkerLike } from '../bullmq/job.ts';
import { getOrCreate } from '../core/get-or-create.ts';
import type { Holder } from '../core/holder.ts';
import type { AcquireAttempt } from '../lock/lock-request.ts';
import type { GuardedJob } from './strategy.ts';

/** A job waits in its slot if those before it need no longer than this. */
const SOON_MS = 5;
/** It waits for no longer while no run ends. */
const MAX_STANDSTILL_MS = 20;
/** The longest time that it waits. */
const MAX_LINGER_MS = 100;
/** How much the last run counts for the time that a run takes. */
const LAST_COUNTS = 0.2;
/** A standstill counts as so long a run: the next jobs are parked at once. */
const STANDSTILL_COUNTS_MS = 40;

/** The jobs of one worker. */
class Turns {
  /** When each key was acquired or released last: for a moment more it counts as held here. The oldest is the first. */
  readonly #heldAt = new Map<string, number>();
  /** Those that wait in their slots, by owner: lets it ask for the key. */
  readonly #lingering = new Map<string, () => void>();
  /** How long a run takes, in ms. It counts as short until one has ended. */
  #pace = 0;
  /** How many have ended. */
  #runs = 0;

  /**
   * A job runs with its key.
   * @returns a function that ends it.
   */
  start(storedKey: string): () => void {
    const startedAt = this.#hold(storedKey);
    return () => {
      this.#runs++;
      this.#count(this.#hold(storedKey) - startedAt);
    };
  }

  /** Whether a job with so many ahead of it gets the key soon. */
  isSoon(storedKey: string, ahead: number): boolean {
    return this.#heldAt.has(storedKey) && (ahead + 1) * this.#pace <= SOON_MS;
  }

  /** Asks when it is the owner's turn, or when it has waited for long enough. */
  async linger<Answer>(owner: string, until: number, ask: () => Promise<Answer>): Promise<Answer> {
    try {
      return await new Promise<Answer>(resolve => {
        let hasAsked = false;
        const go = () => {
          clearTimeout(timer);
          if (!hasAsked) resolve(ask());
          hasAsked = true;
        };
        const look = (runs: number) => {
          const isStill = this.#runs === runs;
          if (isStill) this.#count(STANDSTILL_COUNTS_MS);
          if (isStill || performance.now() >= until) go();
          else timer = setTimeout(look, MAX_STANDSTILL_MS, this.#runs);
        };
        let timer = setTimeout(look, MAX_STANDSTILL_MS, this.#runs);
        this.#lingering.set(owner, go);
      });
    } finally {
      this.#lingering.delete(owner);
    }
  }

  isLingering(owner: string): boolean {
    return this.#lingering.has(owner);
  }

  /** @returns whether the owner waited for its turn, or asks for the key now. */
  wake(owner: string): boolean {
    const go = this.#lingering.get(owner);
    go?.();
    return go !== undefined;
  }

  #hold(storedKey: string): number {
    const now = performance.now();
    this.#heldAt.delete(storedKey);
    this.#heldAt.set(storedKey, now);
    for (const [other, at] of this.#heldAt) {
      if (now - at < MAX_STANDSTILL_MS) break;
      this.#heldAt.delete(other);
    }
    return now;
  }

  #count(ms: number): void {
    this.#pace += (ms - this.#pace) * LAST_COUNTS;
  }
}

const turns = new WeakMap<WorkerLike, Turns>();

function turnsOf({ job: { queue } }: GuardedJob): Turns | undefined {
  return queue && getOrCreate(turns, queue, () => new Turns());
}

/** Notes that a job runs with its key, until the function is called that it returns. */
export function startTurn(work: GuardedJob): (() => void) | undefined {
  return turnsOf(work)?.start(work.request.terms.storedKey);
}

/**
 * Lets a job that found its key held wait in its slot if its turn comes soon.
 * @param first - what it was told.
 * @param askAgain - asks for the key from its position in the line.
 */
export async function lingerForTurn(
  work: GuardedJob,
  first: AcquireAttempt,
  askAgain: () => Promise<AcquireAttempt | undefined>,
): Promise<AcquireAttempt> {
  const { owner, storedKey, line } = work.request.terms;
  const here = turnsOf(work);
  if (!here || line?.kind !== 'all' || work.concurrency > 1) return first;
  const until = performance.now() + MAX_LINGER_MS;
  let attempt = first;
  while (!attempt.acquired && attempt.standing?.is === 'in-line' && performance.now() < until) {
    if (!isRunOrOnItsWay(attempt.holder) || !here.isSoon(storedKey, attempt.standing.ahead)) return attempt;
    attempt = (await here.linger(owner, until, askAgain)) ?? attempt;
  }
  return attempt;
}

/** A key that is done or reserved is not free within milliseconds. */
function isRunOrOnItsWay({ state }: Holder): boolean {
  return state === 'running' || state === 'parked';
}

/** @returns whether the owner waited in a slot of the same worker. It asks for the key at once. */
export function wakeForTurn(work: GuardedJob, owner: string): boolean {
  return turnsOf(work)?.wake(owner) ?? false;
}

/** Whether an owner waits in a slot of the same worker. */
export function isLingering(work: GuardedJob, owner: string): boolean {
  return turnsOf(work)?.isLingering(owner) ?? false;
}
