/**
 * The simulated datastore of locks. It decides by the library's own rules, on its own clock, and keeps its data in one map, of which a
 * replica may be a little behind.
 */

import type {
  AcquireResult,
  AcquireStep,
  EnterResult,
  EnterStep,
  ForceReleaseStep,
  LeaveResult,
  LeaveStep,
  LineQuery,
  LineRecord,
  LockRecord,
  ReleaseStep,
  RenewStep,
} from '../../src/cache/contract.ts';
import type { StoredKey } from '../../src/cache/line-rules.ts';
import type { StoredLock } from '../../src/cache/lock-rules.ts';
import type { Clock } from './clock.ts';
import type { Rules } from './library.ts';

/** Is told of every step, before its answer is sent. */
export interface DatastoreObserver {
  onAcquire(step: AcquireStep | EnterStep, result: AcquireResult | EnterResult): void;
  onRenew(step: RenewStep, renewed: boolean): void;
  onRelease(step: ReleaseStep | LeaveStep, released: boolean): void;
  onForceRelease(storedKey: string, fences: readonly number[], byOperator: boolean): void;
  onStrikeOut(query: LineQuery, struck: boolean): void;
  /** Somebody who asked who holds a key is told. */
  onFoundHeld(storedKey: string): void;
}

const EMPTY: StoredKey = { places: [], parked: [] };

export class Datastore {
  readonly #rules: Rules;
  readonly #clock: Clock;
  readonly #observer: DatastoreObserver;
  #keys = new Map<string, StoredKey>();
  #lastFence = 0;
  /** Called with each key that may have become free. */
  onNotify: (storedKey: string) => void = () => {};

  constructor(rules: Rules, clock: Clock, observer: DatastoreObserver) {
    this.#rules = rules;
    this.#clock = clock;
    this.#observer = observer;
  }

  acquire(step: AcquireStep): AcquireResult {
    const stored = this.#at(step.storedKey);
    const { isHeldBy, mayReclaim, decideAcquire } = this.#rules;
    const own = stored.places.find(place => isHeldBy(step, place) || mayReclaim(step, place));
    const { result, stored: granted } = decideAcquire(
      step,
      own ?? stored.places[0],
      this.#clock.wall(),
      this.#newFence(),
    );
    if (granted) this.#store(step.storedKey, withPlace(stored, own, granted));
    this.#noteFence(result);
    this.#observer.onAcquire(step, result);
    return result;
  }

  enter(step: EnterStep): EnterResult {
    const before = this.#at(step.storedKey);
    const { result, stored } = this.#rules.decideEnter(step, before, this.#moment(), this.#newFence());
    this.#store(step.storedKey, stored);
    this.#noteFence(result);
    this.#observer.onAcquire(step, result);
    if (!result.acquired && stored !== before && step.interrupts) this.onNotify(step.storedKey);
    return result;
  }

  renew(step: RenewStep): boolean {
    const stored = this.#at(step.storedKey);
    const own = stored.places.find(place => this.#rules.isHeldBy(step, place));
    if (own) {
      const renewed = { ...own, expiresAt: this.#clock.wall() + step.ttl };
      this.#store(step.storedKey, withPlace(stored, own, renewed));
    }
    this.#observer.onRenew(step, own !== undefined);
    return own !== undefined;
  }

  release(step: ReleaseStep): boolean {
    const stored = this.#at(step.storedKey);
    const own = stored.places.find(place => this.#rules.isHeldBy(step, place));
    if (own) {
      const now = this.#clock.wall();
      const left = this.#rules.keepResult(step, stored, now);
      this.#store(step.storedKey, withPlace(left, own, this.#rules.decideRelease(step, own, now)));
    }
    this.#observer.onRelease(step, own !== undefined);
    if (own) this.onNotify(step.storedKey);
    return own !== undefined;
  }

  leave(step: LeaveStep): LeaveResult {
    const before = this.#at(step.storedKey);
    const { result, stored } = this.#rules.decideLeave(step, before, this.#moment());
    this.#store(step.storedKey, stored);
    this.#observer.onRelease(step, result.released);
    if (stored.places.length < before.places.length || result.answered) this.onNotify(step.storedKey);
    return result;
  }

  result(storedKey: string): string | undefined {
    return this.#at(storedKey).kept?.text;
  }

  line(query: LineQuery): LineRecord {
    return this.#rules.describeLine(query, this.#at(query.storedKey));
  }

  strikeOut(query: LineQuery): boolean {
    const before = this.#at(query.storedKey);
    const stored = this.#rules.withoutParked(before, query.owner);
    this.#store(query.storedKey, stored);
    this.#observer.onStrikeOut(query, stored !== before);
    return stored !== before;
  }

  forceRelease(step: ForceReleaseStep, { byOperator = false }: { byOperator?: boolean } = {}): boolean {
    const stored = this.#at(step.storedKey);
    const ended = stored.places.filter(place => this.#rules.endsByForce(step, place));
    if (ended.length === 0) return false;
    const places = stored.places.filter(place => !ended.includes(place));
    this.#store(step.storedKey, { places, parked: stored.parked });
    const fences = ended.map(({ fence }) => fence);
    this.#observer.onForceRelease(step.storedKey, fences, byOperator);
    this.onNotify(step.storedKey);
    return true;
  }

  inspect(storedKey: string): LockRecord | undefined {
    const [first] = this.#at(storedKey).places;
    if (first) this.#observer.onFoundHeld(storedKey);
    return first && this.#rules.recordOf(storedKey, first, this.#clock.wall());
  }

  /** What is stored now. */
  get storedKeys(): readonly string[] {
    return [...this.#keys.keys()];
  }

  /** What is stored of a key, and has not expired. */
  look(storedKey: string): StoredKey {
    return this.#at(storedKey);
  }

  /** Removes what has expired. */
  purge(): void {
    for (const storedKey of [...this.#keys.keys()]) this.#store(storedKey, this.#at(storedKey));
  }

  /** All data, as a replica has them. */
  snapshot(): ReadonlyMap<string, StoredKey> {
    return new Map(this.#keys);
  }

  /** Goes on with other data: a replica's, or none. */
  restore(keys: ReadonlyMap<string, StoredKey>): void {
    this.#keys = new Map(keys);
    this.#lastFence = Math.max(
      0,
      ...[...keys.values()].flatMap(({ places }) => places.map(({ fence }) => fence)),
    );
  }

  #moment(): { now: number; wall: number } {
    const now = this.#clock.wall();
    return { now, wall: now };
  }

  #newFence(): number {
    return Math.max(this.#clock.wall() * 1000, this.#lastFence + 1);
  }

  #noteFence(result: AcquireResult | EnterResult): void {
    if (result.acquired) this.#lastFence = Math.max(this.#lastFence, result.fence);
  }

  #at(storedKey: string): StoredKey {
    const stored = this.#keys.get(storedKey);
    if (!stored) return EMPTY;
    const now = this.#clock.wall();
    const { places, parked, lastRun, kept } = stored;
    const isLive = ({ expiresAt }: { readonly expiresAt: number }) => expiresAt > now;
    const isFresh = places.every(isLive) && (!lastRun || isLive(lastRun)) && (!kept || isLive(kept));
    if (isFresh) return stored;
    return {
      places: places.filter(isLive),
      parked,
      lastRun: lastRun && isLive(lastRun) ? lastRun : undefined,
      kept: kept && isLive(kept) ? kept : undefined,
    };
  }

  #store(storedKey: string, stored: StoredKey): void {
    if (stored.places.length > 0 || stored.parked.length > 0 || stored.lastRun || stored.kept)
      this.#keys.set(storedKey, stored);
    else this.#keys.delete(storedKey);
  }
}

function withPlace(stored: StoredKey, old: StoredLock | undefined, place: StoredLock | undefined): StoredKey {
  const others = stored.places.filter(one => one !== old);
  return { ...stored, places: place ? [...others, place].sort((a, b) => a.fence - b.fence) : others };
}
