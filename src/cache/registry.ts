/** Which cache serves which lock: the registry `caches`, and what is accepted as a cache. */

import { getOrCreate } from '../core/get-or-create.ts';
import { listed, shown } from '../core/printable.ts';
import { processWide } from '../core/process-wide.ts';
import { type Parser, show, showClass, text } from '../core/validation.ts';
import type { LockCache } from './contract.ts';
import { KeyValueCache, type KeyValueStore } from './key-value.ts';
import { MemoryCache } from './memory.ts';
import { isRedisClient } from './redis/client.ts';

/** Where locks can be kept: a lock cache, or any store with `get`, `set` and `delete` (or `del`). */
export type Cache = LockCache | KeyValueStore;

/**
 * The caches that are used where no option `cache` is given: one for each queue that has an entry under its name, and one
 * for all others. Without either, a job's lock is kept on the connection of its queue, and a `Lock` that belongs to no
 * queue in the memory of the process.
 */
export interface CacheRegistry {
  /** For every queue without an entry of its own, and for `Lock` and `once`. @defaultValue undefined */
  default: Cache | undefined;
  /**
   * Adds a cache. The name is a queue's, or one that the option `cache` then takes.
   * @throws TypeError the cache lacks a method.
   */
  set(name: string, cache: Cache): void;
  get(name: string): LockCache | undefined;
  delete(name: string): boolean;
}

interface RegistryState {
  readonly named: Map<string, LockCache>;
  /** One cache for each store: it is what makes the steps on a key run one after another. */
  readonly ofStores: WeakMap<object, LockCache>;
  default: LockCache | undefined;
  memory: LockCache | undefined;
}

const registry = processWide<RegistryState>('caches', () => ({
  named: new Map(),
  ofStores: new WeakMap(),
  default: undefined,
  memory: undefined,
}));

/**
 * @example
 * ```ts
 * caches.set('emails', new RedisCache(otherRedis));
 * caches.default = new MemoryCache();
 * ```
 */
export const caches: CacheRegistry = {
  get default(): LockCache | undefined {
    return registry.default;
  },
  set default(cache: Cache | undefined) {
    registry.default = cache === undefined ? undefined : toLockCache(cache, 'caches.default');
  },
  set(name, cache) {
    registry.named.set(name, toLockCache(cache, `caches.set('${shown(name)}', …)`));
  },
  get(name) {
    return registry.named.get(name);
  },
  delete(name) {
    return registry.named.delete(name);
  },
};

/**
 * The cache that an option `cache` stands for; without it `caches.default`, else the memory of this process.
 * @param option - how errors name it.
 * @throws TypeError the name is not in the registry.
 */
export function resolveCache(
  cache: LockCache | string | undefined,
  option: string = "option 'cache'",
): LockCache {
  if (cache === undefined) return registry.default ?? memoryOfProcess();
  if (typeof cache !== 'string') return cache;
  refuseUrl(cache, option);
  const named = registry.named.get(cache);
  if (named) return named;
  const known = listed([...registry.named.keys()]) || 'none';
  const name = shown(cache);
  throw new TypeError(
    `${option}: no cache is named '${name}' (named are: ${known}); call caches.set('${name}', cache) first`,
  );
}

/** The cache that the registry has for a queue. */
export function cacheOfQueue(queueName: string): LockCache | undefined {
  return registry.named.get(queueName) ?? registry.default;
}

/** Whether a cache is in the memory of this process alone. */
export function isInMemory(cache: LockCache): boolean {
  return cache instanceof MemoryCache || (cache instanceof KeyValueCache && cache.isInMemory);
}

/** Parses an option `cache`: a cache, or the name of one in the registry. */
export const cacheLike: Parser<LockCache | string> = (value, option) => {
  if (typeof value !== 'string') return toLockCache(value, option);
  refuseUrl(value, option);
  return text(value, option);
};

/** A name that is not found is named in errors, and a URL may have a password in it. */
function refuseUrl(name: string, option: string): void {
  if (!name.includes('://')) return;
  throw new TypeError(
    `${option} must be a cache or the name of one, not a URL; give new RedisCache(new Redis(url))`,
  );
}

/**
 * Makes a lock cache of what was given.
 * @throws TypeError it lacks a method.
 */
export function toLockCache(cache: unknown, option: string): LockCache {
  if (typeof cache !== 'object' || cache === null) {
    throw new TypeError(`${option} must be a cache, not ${show(cache)}`);
  }
  // A sentinel of node-redis has a method `acquire` too.
  if ('acquire' in cache && !isRedisClient(cache)) {
    const missing = missingMethods(cache, ['acquire', 'renew', 'release', 'inspect']);
    if (missing.length > 0) throw new TypeError(`${option}: the lock cache has no ${missing.join(', no ')}`);
    return cache as LockCache;
  }
  refuseClient(cache, option);
  const missing = missingMethods(cache, ['get', 'set', 'delete' in cache ? 'delete' : 'del']);
  if (missing.length > 0) {
    const lacks = missing.map(method => (method === 'del' ? 'delete (or del)' : method));
    throw new TypeError(
      `${option}: a store needs get, set and delete (or del); this one, ${showClass(cache)}, has no ${lacks.join(', no ')}`,
    );
  }
  return getOrCreate(registry.ofStores, cache, () => new KeyValueCache(cache as KeyValueStore));
}

/** A client's `get` and `set` can't exclude anyone between processes, and do not take the same arguments. */
function refuseClient(given: object, option: string): void {
  const { query, connect } = given as { query?: unknown; connect?: unknown };
  const isPool = typeof query === 'function' && typeof connect === 'function';
  if (!isPool && !isRedisClient(given)) return;
  const wrapper = isPool ? "new PostgresCache(pool), from 'bullmq-once/postgres'" : 'new RedisCache(client)';
  throw new TypeError(`${option} must be a cache, not a client of a datastore; give ${wrapper}`);
}

function memoryOfProcess(): LockCache {
  registry.memory ??= new MemoryCache();
  return registry.memory;
}

function missingMethods(cache: object, methods: readonly string[]): string[] {
  return methods.filter(method => typeof (cache as Record<string, unknown>)[method] !== 'function');
}
