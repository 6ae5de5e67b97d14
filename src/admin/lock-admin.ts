/** Looks at the locks of a queue or a cache, and lets them go by hand. */

import { jobIdIn } from '../bullmq/job.ts';
import { cacheOnConnection } from '../bullmq/queue-cache.ts';
import type { Holder, LockCache } from '../cache/contract.ts';
import { asLockCache, type Cache, cacheFrom, cacheOfQueue } from '../cache/registry.ts';
import { type LockName, parseName, queueName, scopedName } from '../key/stored-name.ts';
import { checkText, DEFAULTS } from '../lock/options.ts';

/** A lock that is held, or kept as done. */
export interface LockInfo extends Holder {
  /** The key as its user knows it. */
  readonly key: string;
  /** The key's full name in the cache. */
  readonly storedKey: string;
  /** The queue that it belongs to, with its prefix: `bull:emails`. */
  readonly queue?: string;
  /** Else the scope. */
  readonly scope?: string;
  /** The id of the job that holds it, where that is one of the queue's own. */
  readonly jobId?: string;
}

/** Which locks are listed. All, where nothing is said. */
export interface LockFilter {
  /** Those whose keys begin so. */
  readonly startsWith?: string;
  /** Those that are leased (`'running'`), kept after a success (`'done'`), or a value that no lock wrote (`'foreign'`). */
  readonly state?: Holder['state'];
}

/** The locks of one queue, scope or cache. */
export interface Locks {
  /**
   * Tells the locks that are held, in no order. What is taken or let go of meanwhile may be told of or not. Redis is scanned bit
   * by bit, and never held up.
   * @throws Error the cache can't list what it has.
   */
  list(filter?: LockFilter): AsyncIterable<LockInfo>;
  /** The lock of one key, if it is held. */
  get(key: string): Promise<LockInfo | undefined>;
  /**
   * Lets go of a key, whoever holds it, or has done it: others are let in at once. The signal of a holder that lives aborts
   * with its next renewal, within a third of its ttl; until then two may run.
   * @param lock - a key, or one of those that were listed.
   * @returns whether a lock was there. A value that no lock wrote is left alone.
   * @throws Error the cache can't.
   */
  evict(lock: string | LockInfo): Promise<boolean>;
}

/** What is asked of BullMQ's `Queue` and `Worker`. */
export interface QueueLike {
  readonly name: string;
  readonly qualifiedName: string;
}

/** Options of {@link locks}. */
export interface LocksOptions {
  /**
   * Locks of this scope, rather than of the queue.
   * @defaultValue of a queue its own locks; of a cache those of all queues and scopes in it
   */
  readonly scope?: string;
  /**
   * Where the locks of a queue are, if its processor names another cache than those that {@link caches} has for it.
   * @defaultValue the queue's entry in `caches`, else `caches.default`, else its own connection
   */
  readonly cache?: Cache | string;
}

/**
 * The locks of a queue, wherever they are kept, or of a cache: who holds them, since when, and for how long.
 *
 * @param of - a queue or a worker of BullMQ, a cache, or the name of one in {@link caches}.
 * @throws TypeError it is none of these.
 * @example
 * ```ts
 * for await (const { key, jobId, expiresIn } of locks(queue).list()) console.log(key, jobId, expiresIn);
 * await locks(queue).evict('welcome-42');
 * ```
 */
export function locks(of: QueueLike | Cache | string, options: LocksOptions = {}): Locks {
  const { scope, cache: option } = options;
  if (scope !== undefined) checkText(scope, 'locks', 'scope');
  if (!isQueue(of)) {
    const cache = cacheGiven(of);
    return new LocksOf(async () => cache, undefined, scope);
  }
  const cache = option === undefined ? undefined : cacheGiven(option);
  return new LocksOf(
    async () => cache ?? cacheOf(of),
    scope === undefined ? of.qualifiedName : undefined,
    scope,
  );
}

class LocksOf implements Locks {
  readonly #cache: () => Promise<LockCache>;
  readonly #queue: string | undefined;
  readonly #scope: string | undefined;

  constructor(cache: () => Promise<LockCache>, queue: string | undefined, scope: string | undefined) {
    this.#cache = cache;
    this.#queue = queue;
    this.#scope = scope;
  }

  async *list({ startsWith = '', state }: LockFilter = {}): AsyncIterable<LockInfo> {
    const cache = await this.#cache();
    if (!cache.list) throw cant('list its locks', 'list');
    const isOfAll = this.#queue === undefined && this.#scope === undefined;
    const prefix = isOfAll ? '' : this.#stored(startsWith);
    for await (const holder of cache.list(prefix)) {
      const info = infoOf(holder);
      if ((state === undefined || info.state === state) && info.key.startsWith(startsWith)) yield info;
    }
  }

  async get(key: string): Promise<LockInfo | undefined> {
    const [holder] = await (await this.#cache()).inspect([this.#stored(key)]);
    return holder && infoOf(holder);
  }

  async evict(lock: string | LockInfo): Promise<boolean> {
    const cache = await this.#cache();
    if (!cache.evict) throw cant('let go of a lock by hand', 'evict');
    const [answer] = await cache.evict([typeof lock === 'string' ? this.#stored(lock) : lock.storedKey]);
    if (answer instanceof Error) throw answer;
    return answer === true;
  }

  #stored(key: string): string {
    return this.#queue === undefined
      ? scopedName(this.#scope ?? DEFAULTS.scope, key)
      : queueName(this.#queue, key);
  }
}

function cacheGiven(given: Cache | string): LockCache {
  return typeof given === 'string' ? cacheFrom(given) : asLockCache(given, 'locks: what it was given');
}

/** Where a queue's jobs find their locks when no option names another cache. */
async function cacheOf(queue: QueueLike): Promise<LockCache> {
  const cache = cacheOfQueue(queue.name) ?? (await cacheOnConnection(queue));
  if (cache) return cache;
  throw new Error(
    `locks: the queue '${queue.name}' has no connection that locks could be on; pass their cache instead`,
  );
}

/** What there is to say of a holder. */
function infoOf(holder: Holder): LockInfo {
  const storedKey = holder.key;
  const name: LockName = parseName(storedKey) ?? { key: storedKey };
  const jobId = name.queue === undefined ? undefined : jobIdIn(holder.owner, name.queue);
  return { ...holder, ...name, storedKey, ...(jobId !== undefined && { jobId }) };
}

function isQueue(of: unknown): of is QueueLike {
  const { qualifiedName, name } = (of ?? {}) as Partial<QueueLike>;
  return typeof qualifiedName === 'string' && typeof name === 'string';
}

function cant(what: string, method: string): Error {
  return new Error(`locks: this cache can't ${what}: it has no method '${method}'`);
}
