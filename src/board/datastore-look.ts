/**
 * Looks at the locks of a datastore: one look at a time, for all sources that are in it and for all viewers. Redis has no index of
 * its keys, so each look reads all of their names.
 */

import { type LockInfo, listStored } from '../admin/lock-admin.ts';
import { withLines } from '../admin/lock-line.ts';
import type { LockCache } from '../cache/contract.ts';
import { getOrCreate } from '../core/get-or-create.ts';
import { setImmediate } from '../core/timers.ts';
import { KeptLocks } from './kept-locks.ts';

/** What was seen is shown for so long before the next look. */
const MIN_REST_MS = 1500;
const MAX_REST_MS = 5000;
/** A datastore rests this many times as long as a look has kept it busy. */
const REST_PER_LOOK = 4;
/** A look that takes longer ends with what it has found. */
const MAX_LOOK_MS = 10_000;
/** A look that does not even end then is given up: its connection may be dead, and the next look may get another. */
const GIVE_UP_MS = 30_000;

/** More locks than this in one go would hold up the event loop. */
const LOCKS_A_TURN = 1000;

/** What a look has found of one source. */
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
  /** What it has met so far, by the prefixes of the sources. */
  readonly kept: Map<string, KeptLocks>;
  /** What was found, by the prefixes of the sources. */
  readonly seen: Promise<ReadonlyMap<string, Seen>>;
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
  #last: ReadonlyMap<string, Seen> = new Map();
  #restUntil = 0;
  /** The prefixes of the next look, each with a cache that reaches the datastore. */
  #wanted = new Map<string, LockCache>();
  /** Which of the caches looks. Their connections may fail one by one. */
  #turn = 0;
  /** The acquisitions that were released by force since the last look began, and when. */
  readonly #released = new Map<string, number>();

  /**
   * Looks at the locks whose stored keys begin with a prefix.
   * @param unviewed - aborted when nobody wants to see them any more: the look ends, and the promise rejects.
   * @throws LockAdminError the cache can't list its locks.
   */
  async see(prefix: string, cache: LockCache, unviewed: AbortSignal): Promise<Seen> {
    const last = this.#last.get(prefix);
    if (last && performance.now() < this.#restUntil) return last;
    this.#wanted.set(prefix, cache);
    for (;;) {
      // A look that had begun before has not looked for this prefix; the next one does.
      const seen = (await this.#look(unviewed).seen).get(prefix);
      if (seen) return seen;
    }
  }

  /** What the look that is under way has met so far; `undefined` where that is nothing. */
  soFar(prefix: string): Seen | undefined {
    const locks = this.#current?.kept.get(prefix)?.locks ?? [];
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
    this.#current = undefined;
    this.#last = seen;
    this.#restUntil = now + Math.min(rest, MAX_REST_MS);
    for (const [acquisition, at] of this.#released) if (at < startedAt) this.#released.delete(acquisition);
  }

  async #lookForAll(
    startedAt: number,
    unviewed: AbortSignal,
    kept: Map<string, KeptLocks>,
  ): Promise<ReadonlyMap<string, Seen>> {
    // Sources that are asked in one turn of the event loop share a look.
    await new Promise<void>(resolve => setImmediate(resolve));
    const caches = [...this.#wanted.values()];
    const prefixes = [...this.#wanted.keys()];
    this.#wanted = new Map();
    const enough = new AbortController();
    const stop = () => enough.abort();
    const timer = setTimeout(stop, MAX_LOOK_MS).unref();
    unviewed.addEventListener('abort', stop);
    try {
      unviewed.throwIfAborted();
      const cache = caches[this.#turn % caches.length] as LockCache;
      for (const prefix of prefixes) kept.set(prefix, new KeptLocks());
      await keepLocks(cache, kept, startedAt, enough.signal);
      unviewed.throwIfAborted();
      const isCut = enough.signal.aborted;
      const seen = await Promise.all(
        [...kept].map(
          async ([prefix, { locks, isCut: hasMore }]): Promise<[string, Seen]> => [
            prefix,
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

/** Lists once for all prefixes. A lock is kept for the longest of them that its stored key begins with. */
async function keepLocks(
  cache: LockCache,
  kept: ReadonlyMap<string, KeptLocks>,
  startedAt: number,
  signal: AbortSignal,
): Promise<void> {
  const prefixes = [...kept.keys()];
  const longestFirst = [...prefixes].sort((a, b) => b.length - a.length);
  let listed = 0;
  for await (const lock of listStored(cache, commonPrefix(prefixes), signal)) {
    const prefix = longestFirst.find(one => lock.storedKey.startsWith(one));
    const expiresIn = lock.expiresIn + (performance.now() - startedAt);
    if (prefix !== undefined) kept.get(prefix)?.add({ ...lock, expiresIn });
    if (++listed % LOCKS_A_TURN === 0) await new Promise<void>(resolve => setImmediate(resolve));
    if (signal.aborted) break;
  }
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
