/**
 * The locks of one source that a look keeps: of all that it meets, those that matter most. There may be millions, and the
 * pages show some hundreds.
 */

import type { LockInfo } from '../admin/lock-admin.ts';

/** More than anybody reads. */
export const MAX_LOCKS = 1000;

export class KeptLocks {
  #locks: LockInfo[] = [];
  #isCut = false;

  add(lock: LockInfo): void {
    this.#locks.push(lock);
    if (this.#locks.length >= 2 * MAX_LOCKS) this.#prune();
  }

  /** Those that were kept, the most important first. */
  get locks(): readonly LockInfo[] {
    this.#prune();
    return this.#locks;
  }

  /** There were more locks than were kept. */
  get isCut(): boolean {
    return this.#isCut || this.#locks.length > MAX_LOCKS;
  }

  #prune(): void {
    this.#isCut = this.isCut;
    this.#locks = this.#locks.sort(byImportance).slice(0, MAX_LOCKS);
  }
}

/** Sorts those that run before those that are done, and of these those that are held longest first. */
export function byImportance(a: LockInfo, b: LockInfo): number {
  return Number(b.state === 'running') - Number(a.state === 'running') || a.since - b.since;
}
