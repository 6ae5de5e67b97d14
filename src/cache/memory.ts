/**
 * Keeps locks in the memory of this process. Keeps all guarantees among those who share the instance, and knows nothing of
 * other processes. Expired records are removed as new ones come; there is no timer.
 */

import { queueMicrotask } from '../core/timers.ts';
import { isLockName } from '../key/stored-name.ts';
import type {
  AcquireResult,
  AcquireStep,
  EnterResult,
  EnterStep,
  ForceReleaseStep,
  JournalPage,
  JournalRecord,
  LeaveResult,
  LeaveStep,
  LineQuery,
  LineRecord,
  Listener,
  LockCache,
  LockRecord,
  ReleaseStep,
  RenewStep,
} from './contract.ts';
import { addPage } from './journal-rules.ts';
import {
  decideEnter,
  decideLeave,
  describeLine,
  type Kept,
  keepResult,
  type LastRun,
  LINE_LASTS_MS,
  type Parked,
  type StoredKey,
  withoutParked,
} from './line-rules.ts';
import {
  decideAcquire,
  decideRelease,
  endsByForce,
  isHeldBy,
  mayReclaim,
  recordOf,
  type StoredLock,
} from './lock-rules.ts';
import { Listeners } from './notify/listeners.ts';

const NO_JOURNAL: JournalRecord = { counts: [], duplicates: [] };

/** Expired records are swept when there are this many, and then whenever those that live have doubled. */
const MIN_SWEEP_SIZE = 1024;
/** So it is with the characters of all results: one result may be of any size. */
const MIN_SWEEP_CHARACTERS = 1_000_000;

/**
 * A cache for one process: tests, command-line tools, `once` without a datastore.
 *
 * @example
 * ```ts
 * const lock = new Lock('nightly-report', { cache: new MemoryCache() });
 * ```
 */
export class MemoryCache implements LockCache {
  /** Who holds each key: one, or as many as it has places. */
  readonly #locks = new Map<string, readonly StoredLock[]>();
  readonly #lines = new Map<string, Line>();
  readonly #listeners = new Listeners();
  readonly #journals = new Map<string, JournalRecord>();
  #lastFence = 0;
  #sweepAt = MIN_SWEEP_SIZE;
  /** Of the results that were kept, also of those that have been replaced since the last sweep. */
  #characters = 0;
  #sweepAtCharacters = MIN_SWEEP_CHARACTERS;

  async acquire(steps: readonly AcquireStep[]): Promise<AcquireResult[]> {
    return steps.map(step => this.#acquire(step));
  }

  async renew(steps: readonly RenewStep[]): Promise<boolean[]> {
    return steps.map(step => {
      const own = this.#live(step.storedKey).find(place => isHeldBy(step, place));
      if (!own) return false;
      this.#replace(step.storedKey, own, { ...own, expiresAt: performance.now() + step.ttl });
      return true;
    });
  }

  async release(steps: readonly ReleaseStep[]): Promise<boolean[]> {
    return steps.map(step => {
      const own = this.#live(step.storedKey).find(place => isHeldBy(step, place));
      if (!own) return false;
      const now = performance.now();
      if (step.result)
        this.#storeLine(step.storedKey, keepResult(step, this.#storedKey(step.storedKey), now));
      this.#replace(step.storedKey, own, decideRelease(step, own, now));
      return true;
    });
  }

  async inspect(storedKeys: readonly string[]): Promise<(LockRecord | undefined)[]> {
    return storedKeys.map(storedKey => this.#recordsOf(storedKey)[0]);
  }

  async *list(prefix: string): AsyncIterable<LockRecord> {
    for (const storedKey of [...this.#locks.keys()]) {
      if (isLockName(storedKey) && storedKey.startsWith(prefix)) yield* this.#recordsOf(storedKey);
    }
  }

  async forceRelease(steps: readonly ForceReleaseStep[]): Promise<boolean[]> {
    return steps.map(step => {
      const live = this.#live(step.storedKey);
      const ended = live.filter(place => endsByForce(step, place));
      for (const place of ended) this.#replace(step.storedKey, place, undefined);
      const line = this.#lines.get(step.storedKey);
      if (line && ended.length > 0) this.#storeLine(step.storedKey, { parked: line.parked });
      return ended.length > 0;
    });
  }

  listen(storedKey: string, onRelease: () => void): Listener {
    // The key may have been released before.
    queueMicrotask(onRelease);
    return this.#listeners.add(storedKey, onRelease);
  }

  async writeJournal(pages: readonly JournalPage[]): Promise<void> {
    for (const { queue, ...page } of pages) {
      this.#journals.set(queue, addPage(this.#journals.get(queue) ?? NO_JOURNAL, page, Date.now()));
    }
  }

  async readJournal(queue: string): Promise<JournalRecord> {
    return addPage(this.#journals.get(queue) ?? NO_JOURNAL, NO_JOURNAL, Date.now());
  }

  async enter(steps: readonly EnterStep[]): Promise<EnterResult[]> {
    return steps.map(step => {
      const before = this.#storedKey(step.storedKey);
      const { result, stored } = decideEnter(step, before, moment(), this.#newFence());
      if (result.acquired) this.#lastFence = Math.max(this.#lastFence, result.fence);
      this.#store(step.storedKey, stored);
      const hasJoined = !result.acquired && stored !== before;
      if (hasJoined && step.interrupts) this.#listeners.notify(step.storedKey);
      return result;
    });
  }

  async leave(steps: readonly LeaveStep[]): Promise<LeaveResult[]> {
    return steps.map(step => {
      const before = this.#storedKey(step.storedKey);
      const { result, stored } = decideLeave(step, before, moment());
      this.#store(step.storedKey, stored);
      const hasEnded = stored.places.length < before.places.length || result.answered;
      if (hasEnded) this.#listeners.notify(step.storedKey);
      return result;
    });
  }

  async results(storedKeys: readonly string[]): Promise<(string | undefined)[]> {
    return storedKeys.map(storedKey => this.#storedKey(storedKey).kept?.text);
  }

  async lines(queries: readonly LineQuery[]): Promise<LineRecord[]> {
    return queries.map(query => describeLine(query, this.#storedKey(query.storedKey)));
  }

  async strikeOut(steps: readonly LineQuery[]): Promise<boolean[]> {
    return steps.map(({ storedKey, owner }) => {
      const before = this.#storedKey(storedKey);
      const stored = withoutParked(before, owner);
      this.#store(storedKey, stored);
      return stored !== before;
    });
  }

  #acquire(step: AcquireStep): AcquireResult {
    const live = this.#live(step.storedKey);
    const own = live.find(place => isHeldBy(step, place) || mayReclaim(step, place));
    const { result, stored } = decideAcquire(step, own ?? live[0], performance.now(), this.#newFence());
    if (!stored) return result;
    this.#lastFence = Math.max(this.#lastFence, stored.fence);
    this.#replace(step.storedKey, own, stored);
    this.#sweepWhenFull();
    return result;
  }

  #newFence(): number {
    return Math.max(Date.now() * 1000, this.#lastFence + 1);
  }

  /** Those who hold a key. */
  #live(storedKey: string): readonly StoredLock[] {
    const places = this.#locks.get(storedKey);
    if (!places) return NOBODY;
    const now = performance.now();
    return places.every(({ expiresAt }) => expiresAt > now)
      ? places
      : places.filter(({ expiresAt }) => expiresAt > now);
  }

  #recordsOf(storedKey: string): LockRecord[] {
    return this.#live(storedKey).map(place => recordOf(storedKey, place, performance.now()));
  }

  /** Stores a lock in the place of another; without it, in a place of its own. */
  #replace(storedKey: string, old: StoredLock | undefined, stored: StoredLock | undefined): void {
    const others = this.#live(storedKey).filter(place => place !== old);
    this.#setPlaces(storedKey, stored ? [...others, stored].sort((a, b) => a.fence - b.fence) : others);
    if (!stored) this.#listeners.notify(storedKey);
  }

  #liveLine(storedKey: string): Line {
    const line = this.#lines.get(storedKey) ?? NO_LINE;
    const last = line.parked.at(-1);
    return last && Date.now() - last.since > LINE_LASTS_MS ? { ...line, parked: [] } : line;
  }

  #storedKey(storedKey: string): StoredKey {
    const { parked, lastRun, kept } = this.#liveLine(storedKey);
    return {
      places: this.#live(storedKey),
      parked,
      lastRun: unlessExpired(lastRun),
      kept: unlessExpired(kept),
    };
  }

  #setPlaces(storedKey: string, places: readonly StoredLock[]): void {
    if (places.length > 0) this.#locks.set(storedKey, places);
    else this.#locks.delete(storedKey);
  }

  #store(storedKey: string, stored: StoredKey): void {
    this.#setPlaces(storedKey, stored.places);
    this.#storeLine(storedKey, stored);
    this.#sweepWhenFull();
  }

  #storeLine(storedKey: string, { parked, lastRun, kept }: Line): void {
    if (kept && kept.text !== this.#lines.get(storedKey)?.kept?.text) this.#characters += kept.text.length;
    if (parked.length > 0 || lastRun || kept) this.#lines.set(storedKey, { parked, lastRun, kept });
    else this.#lines.delete(storedKey);
  }

  #sweepWhenFull(): void {
    const isFull = this.#locks.size + this.#lines.size >= this.#sweepAt;
    if (!isFull && this.#characters < this.#sweepAtCharacters) return;
    for (const storedKey of this.#locks.keys()) {
      if (this.#live(storedKey).length === 0) this.#locks.delete(storedKey);
    }
    for (const storedKey of this.#lines.keys()) {
      this.#storeLine(storedKey, this.#storedKey(storedKey));
    }
    this.#sweepAt = Math.max(MIN_SWEEP_SIZE, (this.#locks.size + this.#lines.size) * 2);
    this.#characters = 0;
    for (const { kept } of this.#lines.values()) this.#characters += kept?.text.length ?? 0;
    this.#sweepAtCharacters = Math.max(MIN_SWEEP_CHARACTERS, this.#characters * 2);
  }
}

interface Line {
  readonly parked: readonly Parked[];
  readonly lastRun?: LastRun | undefined;
  readonly kept?: Kept | undefined;
}

const NOBODY: readonly StoredLock[] = [];
const NO_LINE: Line = { parked: [] };

function unlessExpired<Kind extends { readonly expiresAt: number }>(
  stored: Kind | undefined,
): Kind | undefined {
  return stored && stored.expiresAt > performance.now() ? stored : undefined;
}

function moment(): { now: number; wall: number } {
  return { now: performance.now(), wall: Date.now() };
}
