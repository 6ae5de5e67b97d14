/** The options of a board. */

import { type LockAdmin, locksOf, type QueueLike } from '../admin/lock-admin.ts';
import type { LockCache } from '../cache/contract.ts';
import { type Cache, toLockCache } from '../cache/registry.ts';
import { flag, type Parser, parseOptions, show, text, withDefault } from '../core/validation.ts';

/** Options of {@link createBoard}. At least one queue or one cache is needed. */
export interface BoardOptions {
  /**
   * The queues whose locks are shown, in whichever cache these are.
   * @defaultValue none
   */
  readonly queues?: readonly QueueLike[];
  /**
   * Caches by names of your choice. All locks in them are shown.
   * @defaultValue none
   */
  readonly caches?: Readonly<Record<string, Cache>>;
  /**
   * `true`: the page can't release locks.
   * @defaultValue false
   */
  readonly readOnly?: boolean;
  /**
   * The heading of the page.
   * @defaultValue 'Locks'
   */
  readonly title?: string;
}

/** {@link BoardOptions}, parsed. */
export interface ParsedBoardOptions {
  /** The locks that are shown, by the name of their queue or cache. */
  readonly sources: ReadonlyMap<string, LockAdmin>;
  readonly readOnly: boolean;
  readonly title: string;
}

/** @throws TypeError there is nothing to show, or an option is unknown or has a wrong value. */
export function parseBoardOptions(options: BoardOptions): ParsedBoardOptions {
  const { queues, caches, readOnly, title } = parseOptions('createBoard', options, OPTIONS);
  const sources = new Map<string, LockAdmin>();
  for (const queue of queues) sources.set(queue.qualifiedName, locksOf(queue));
  for (const [name, cache] of caches) sources.set(name, locksOf(cache));
  if (sources.size > 0) return { sources, readOnly, title };
  throw new TypeError("createBoard: there is nothing to show; give it 'queues' or 'caches'");
}

const queueList: Parser<readonly QueueLike[]> = (value, option) => {
  if (!Array.isArray(value)) throw new TypeError(`${option} must be an array of queues, not ${show(value)}`);
  for (const queue of value) {
    if (typeof queue?.qualifiedName === 'string') continue;
    throw new TypeError(`${option} must hold BullMQ queues only, not ${show(queue)}`);
  }
  return value;
};

const namedCaches: Parser<ReadonlyMap<string, LockCache>> = (value, option) => {
  if (typeof value !== 'object' || value === null) {
    throw new TypeError(`${option} must be an object with a cache for each name, not ${show(value)}`);
  }
  const entries = Object.entries(value);
  return new Map(entries.map(([name, cache]) => [name, toLockCache(cache, `${option}, '${name}'`)]));
};

const OPTIONS = {
  queues: withDefault([], queueList),
  caches: withDefault(new Map(), namedCaches),
  readOnly: withDefault(false, flag),
  title: withDefault('Locks', text),
};
