/**
 * Looks at the locks of a datastore: one look at a time, for all sources that are in it and for all viewers. Redis has no index of
 * its keys, so each look reads all of their names.
 */

import { type LockInfo, listStored } from '../admin/lock-admin.ts';
import { withLines } from '../admin/lock-line.ts';
import type { LockCache } from '../cache/contract.ts';
import { getOrCreate } from '../core/get-or-create.ts';
import { nextTurn } from '../core/timers.ts';
import { KeptLocks } from './kept-locks.ts';
import { ANY, type LockSearch, matches, nameOfSearch } from './lock-search.ts';

/** What was seen is shown for so long before the next look. */
const MIN_REST_MS = 1500;
const MAX_REST_MS = 5000;
/** A datastore rests this many times as long as a look has kept it busy. */
const REST_PER_LOOK = 4;
/** A look that takes longer ends with what it has found. */
const MAX_LOOK_MS = 10_000;
/** A look that does not even end then is given up: its connection may be dead, and the next look may get another. */
const GIVE_UP_MS = 30_000;

/** One look serves so many different searches. */
const MAX_SEARCHES = 20;
/** Viewers who search for different things are shown so many of the last looks, so that none makes a look for another's each time. */
const MAX_RECENT = 5;

/** More locks than this in one go would hold up the event loop. */
const LOCKS_A_TURN = 1000;

/** What a source looks for. */
export interface Wanted {
  /** The stored keys begin with it. */
  readonly prefix: string;
  readonly search: LockSearch;
  /** Reaches the datastore. */
  readonly cache: LockCache;
}

/** What a look has found of what was wanted. */
export interface Seen {
  /** The time left of each is counted from `at`. */
  readonly locks: readonly LockInfo[];
  /** There are more locks. */
  readonly isCut: boolean;
  /** When the look began, on the monotonic clock. */
  readonly at: number;
}

interface Look {
  readonly startedAt: number;
  readonly unviewed: AbortSignal;
  /** What it has met so far, by the names of what was wanted. */
  readonly kept: Map<string, KeptLocks>;
  /** What was found, by the names of what was wanted. */
  readonly seen: Promise<ReadonlyMap<string, Seen>>;
}

interface RecentLook {
  readonly startedAt: number;
  readonly seen: ReadonlyMap<string, Seen>;
  readonly restUntil: number;
}

/** The looks of a board at each datastore. */
export class DatastoreLooks {
  readonly #looks = new Map<LockCache | string, DatastoreLook>();

  of(cache: LockCache): DatastoreLook {
    return getOrCreate(this.#looks, cache.datastore ?? cache, () => new DatastoreLook());
  }
}

export class DatastoreLook {
  #current: Look | undefined;
  /** The last one comes first. */
  #recent: readonly RecentLook[] = [];
  /** What the next look is for. */
  readonly #wanted = new Map<string, Wanted>();
  /** Which of the caches looks. Their connections may fail one by one. */
  #turn = 0;
  /** The acquisitions that were released by force since the first recent look began, and when. */
  readonly #released = new Map<string, number>();

  /**
   * Looks at the locks of a source that are wanted.
   * @param unviewed - aborted when nobody wants to see them any more: the look ends, and the promise rejects.
   * @throws LockAdminError the cache can't list its locks.
   */
  async see(wanted: Wanted, unviewed: AbortSignal): Promise<Seen> {
    const recent = this.#seenBefore(wanted);
    if (recent) return recent;
    // If the source has few locks, the next searches need no look of their own.
    for (const one of [wanted, { ...wanted, search: ANY }]) this.#wanted.set(nameOf(one), one);
    for (;;) {
      // A look that had begun before was not for this; the next one is.
      const seen = found(await this.#look(unviewed).seen, wanted);
      if (seen) return seen;
    }
  }

  /** What the look that is under way has met so far; `undefined` where that is nothing. */
  soFar(wanted: Wanted): Seen | undefined {
    const locks = this.#current?.kept.get(nameOf(wanted))?.locks ?? [];
    return this.#current && locks.length > 0
      ? { locks, isCut: true, at: this.#current.startedAt }
      : undefined;
  }

  /** Those locks that are held by now, as far as it is known, with the time that is left of them. */
  stillHeld({ locks, at }: Seen): LockInfo[] {
    const age = performance.now() - at;
    return locks
      .filter(lock => !this.#released.has(acquisitionOf(lock)))
      .map(lock => ({ ...lock, expiresIn: lock.expiresIn - age }))
      .filter(({ expiresIn }) => expiresIn > 0);
  }

  /** Hides an acquisition that was released by force, until the next look. */
  hide(lock: Pick<LockInfo, 'storedKey' | 'fence'>): void {
    this.#released.set(acquisitionOf(lock), performance.now());
  }

  #seenBefore(wanted: Wanted): Seen | undefined {
    const now = performance.now();
    for (const { seen, restUntil } of this.#recent) {
      const one = now < restUntil ? found(seen, wanted) : undefined;
      if (one) return one;
    }
    return undefined;
  }

  #look(unviewed: AbortSignal): Look {
    const startedAt = performance.now();
    const current = this.#current;
    if (current && !current.unviewed.aborted && startedAt - current.startedAt < GIVE_UP_MS) return current;
    const kept = new Map<string, KeptLocks>();
    const look = { startedAt, unviewed, kept, seen: this.#lookForAll(startedAt, unviewed, kept) };
    this.#current = look;
    look.seen.then(
      seen => this.#current === look && this.#end(look, seen),
      () => {
        this.#turn++;
        if (this.#current === look) this.#current = undefined;
      },
    );
    return look;
  }

  #end({ startedAt }: Look, seen: ReadonlyMap<string, Seen>): void {
    const now = performance.now();
    const rest = Math.max((now - startedAt) * REST_PER_LOOK, MIN_REST_MS);
    const restUntil = now + Math.min(rest, MAX_REST_MS);
    const others = this.#recent.filter(one => now < one.restUntil).slice(0, MAX_RECENT - 1);
    this.#current = undefined;
    this.#recent = [{ startedAt, seen, restUntil }, ...others];
    const first = Math.min(...this.#recent.map(one => one.startedAt));
    for (const [acquisition, at] of this.#released) if (at < first) this.#released.delete(acquisition);
  }

  /** What a look is for. Of many searches some are left for the next. */
  #takeWanted(): Wanted[] {
    const searches = new Set([...this.#wanted.values()].map(({ search }) => nameOfSearch(search)));
    const now = new Set([...searches].slice(0, MAX_SEARCHES));
    const taken = [...this.#wanted.values()].filter(({ search }) => now.has(nameOfSearch(search)));
    for (const one of taken) this.#wanted.delete(nameOf(one));
    return taken;
  }

  async #lookForAll(
    startedAt: number,
    unviewed: AbortSignal,
    kept: Map<string, KeptLocks>,
  ): Promise<ReadonlyMap<string, Seen>> {
    // Sources that are asked in one turn of the event loop share a look.
    await nextTurn();
    const wanted = this.#takeWanted();
    const enough = new AbortController();
    const stop = () => enough.abort();
    const timer = setTimeout(stop, MAX_LOOK_MS).unref();
    unviewed.addEventListener('abort', stop);
    try {
      unviewed.throwIfAborted();
      const { cache } = wanted[this.#turn % wanted.length] as Wanted;
      await keepLocks(cache, wanted, kept, startedAt, enough.signal);
      unviewed.throwIfAborted();
      const isCut = enough.signal.aborted;
      const seen = await Promise.all(
        [...kept].map(
          async ([name, { locks, isCut: hasMore }]): Promise<[string, Seen]> => [
            name,
            { locks: await withLines(cache, locks), isCut: isCut || hasMore, at: startedAt },
          ],
        ),
      );
      return new Map(seen);
    } finally {
      clearTimeout(timer);
      unviewed.removeEventListener('abort', stop);
    }
  }
}

/**
 * Lists once for all. A lock is of the source whose prefix is the longest that its stored key begins with.
 * @param kept - gets what is found of each, from the beginning.
 */
async function keepLocks(
  cache: LockCache,
  wanted: readonly Wanted[],
  kept: Map<string, KeptLocks>,
  startedAt: number,
  signal: AbortSignal,
): Promise<void> {
  const ofPrefixes = new Map<string, { readonly search: LockSearch; readonly keeper: KeptLocks }[]>();
  for (const one of wanted) {
    const keeper = getOrCreate(kept, nameOf(one), () => new KeptLocks());
    getOrCreate(ofPrefixes, one.prefix, () => []).push({ search: one.search, keeper });
  }
  const longestFirst = [...ofPrefixes.keys()].sort((a, b) => b.length - a.length);
  let listed = 0;
  for await (const lock of listStored(cache, commonPrefix(longestFirst), signal)) {
    const prefix = longestFirst.find(one => lock.storedKey.startsWith(one));
    const expiresIn = lock.expiresIn + (performance.now() - startedAt);
    for (const { search, keeper } of ofPrefixes.get(`${prefix}`) ?? []) {
      if (matches(lock, search)) keeper.add({ ...lock, expiresIn });
    }
    if (++listed % LOCKS_A_TURN === 0) await nextTurn();
    if (signal.aborted) break;
  }
}

/** What was seen of what is wanted, if it was looked for. All locks of a source tell it, unless there were more than were kept. */
function found(seen: ReadonlyMap<string, Seen>, wanted: Wanted): Seen | undefined {
  const any = seen.get(nameOf({ ...wanted, search: ANY }));
  if (!any || any.isCut) return seen.get(nameOf(wanted));
  return { ...any, locks: any.locks.filter(lock => matches(lock, wanted.search)) };
}

function nameOf({ prefix, search }: Wanted): string {
  return `${prefix} ${nameOfSearch(search)}`;
}

/** A key with several places has several. */
function acquisitionOf({ storedKey, fence }: Pick<LockInfo, 'storedKey' | 'fence'>): string {
  return `${fence} ${storedKey}`;
}

function commonPrefix(texts: readonly string[]): string {
  let common = texts[0] ?? '';
  while (!texts.every(text => text.startsWith(common))) common = common.slice(0, -1);
  return common;
}
