/** The options of a board. */

import { cacheOf, isQueue, locksOf, type QueueLike } from '../admin/lock-admin.ts';
import type { LockCache } from '../cache/contract.ts';
import { type Cache, toLockCache } from '../cache/registry.ts';
import { flag, type Parser, parseOptions, show, text, withDefault } from '../core/validation.ts';
import { Source } from './source.ts';

/** Options of {@link createBoard}. At least one queue or one cache is needed. */
export interface BoardOptions {
  /**
   * The queues whose locks are shown, in whichever cache these are. Where two queues have one name, as in two datastores, the
   * second is shown as `bull:emails (2)`.
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
  /** The queues and caches whose locks are shown, by their labels. */
  readonly sources: ReadonlyMap<string, Source>;
  readonly readOnly: boolean;
  readonly title: string;
}

/** @throws TypeError there is nothing to show, or an option is unknown or has a wrong value. */
export function parseBoardOptions(options: BoardOptions): ParsedBoardOptions {
  const { queues, caches, readOnly, title } = parseOptions('createBoard', options, OPTIONS);
  const sources = new Map<string, Source>();
  for (const queue of new Set(queues)) {
    const label = uniqueLabel(queue.qualifiedName, sources);
    sources.set(label, new Source(label, locksOf(queue), () => cacheOf(queue), { isQueue: true }));
  }
  for (const [name, cache] of caches) {
    const label = uniqueLabel(name, sources);
    sources.set(label, new Source(label, locksOf(cache), async () => cache, { isQueue: false }));
  }
  if (sources.size > 0) return { sources, readOnly, title };
  throw new TypeError("createBoard: there is nothing to show; give it 'queues' or 'caches'");
}

/** Two queues in two datastores may have one name: `bull:emails`, `bull:emails (2)`. */
function uniqueLabel(name: string, sources: ReadonlyMap<string, Source>): string {
  let label = name;
  for (let i = 2; sources.has(label); i++) label = `${name} (${i})`;
  return label;
}

const queueList: Parser<readonly QueueLike[]> = (value, option) => {
  if (!Array.isArray(value)) throw new TypeError(`${option} must be an array of queues, not ${show(value)}`);
  for (const queue of value) {
    if (isQueue(queue)) continue;
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
