/**
 * Lets jobs that begin in one turn of the event loop begin a few at a time, where a client writes what a turn has collected as one packet.
 * The server answers a packet as a whole. So jobs that began together would be in step for good: neither the client nor the
 * server would have work while the other one has.
 *
 * They wait before they ask for their keys. No lock and no deadline knows of it: to them, the job was handed out later.
 */

import { getOrCreate } from '../../core/get-or-create.ts';
import { nextTick, nextTurn } from '../../core/timers.ts';
import type { LockCache } from '../contract.ts';

/** Two are not enough to keep both sides at work. One at a time costs both sides more. */
const GROUP = 3;
/** More jobs under way do not stay in step, and in small groups cost both sides more. */
const MAX_STAGGERED = 16;

const staggers = new WeakMap<LockCache, Stagger>();

/** @returns what the jobs of a cache begin by; nothing where they need not wait. */
export function staggerOf(cache: LockCache): Stagger | undefined {
  return cache.writesByTurn ? getOrCreate(staggers, cache, () => new Stagger()) : undefined;
}

export class Stagger {
  #underWay = 0;
  #begun = 0;
  #waiting: (() => void)[] = [];

  /**
   * A job begins. The first of a turn begin at once, so that a lone one never waits.
   * @returns what it waits for before it asks for its key; nothing where it need not wait.
   */
  begin(): Promise<void> | undefined {
    this.#underWay++;
    if (this.#begun === 0) nextTick(this.#onTurnEnd);
    if (++this.#begun <= GROUP) return undefined;
    return new Promise(resolve => this.#waiting.push(resolve));
  }

  /** A job that has begun has ended. */
  end(): void {
    this.#underWay--;
  }

  readonly #onTurnEnd = (): void => {
    const waiting = this.#waiting;
    if (this.#underWay > MAX_STAGGERED) for (const resume of waiting) resume();
    else void resumeFewAtATime(waiting);
    this.#begun = 0;
    this.#waiting = [];
  };
}

/** A client writes in the next turn, and what continues in the one after that is in another packet. */
async function resumeFewAtATime(resumes: readonly (() => void)[]): Promise<void> {
  for (let next = 0; next < resumes.length; next += GROUP) {
    await nextTurn();
    await nextTurn();
    for (const resume of resumes.slice(next, next + GROUP)) resume();
  }
}
