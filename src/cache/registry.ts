/** Which cache serves whom: the registry `caches`, and what counts as a cache. */

import { processWide } from '../core/process-wide.ts';
import type { LockCache } from './contract.ts';
import { MemoryCache } from './memory.ts';
import { SimpleCache, type SimpleStore } from './key-value.ts';

/** Whatever locks can be kept in: a lock cache, or any store with `get`, `set` and `delete` (or `del`). */
export type Cache = LockCache | SimpleStore;

/**
 * The caches that are used where no `cache` is given: one for each queue that has an entry under its name, and one
 * for all others. Without either, a job's lock lives on the connection of its queue, and a `Lock` of no queue in
 * the memory of the process.
 */
export interface CacheRegistry {
  /** For every queue without an entry of its own, and for `Lock` and `once`. @defaultValue undefined */
  default: Cache | undefined;
  /**
   * Names a cache. The name is a queue's, or one to be given as the option `cache`.
   * @throws TypeError the cache lacks a method.
   */
  set(name: string, cache: Cache): void;
  get(name: string): LockCache | undefined;
  delete(name: string): boolean;
}

/**
 * @example
 * ```ts
 * caches.set('emails', new RedisCache(otherRedis));
 * caches.default = new MemoryCache();
 * ```
 */
export const caches: CacheRegistry = {
  get default(): LockCache | undefined {
    return processWide().default;
  },
  set default(cache: Cache | undefined) {
    processWide().default = cache === undefined ? undefined : asLockCache(cache, 'caches.default');
  },
  set(name, cache) {
    processWide().named.set(name, asLockCache(cache, `caches.set('${name}', …)`));
  },
  get(name) {
    return processWide().named.get(name);
  },
  delete(name) {
    return processWide().named.delete(name);
  },
};

/**
 * The cache that the option `cache` stands for; without it `caches.default`, else the memory of this process.
 * @throws TypeError the name is not in the registry.
 */
export function cacheFrom(option: LockCache | string | undefined): LockCache {
  if (option === undefined) return defaultCache();
  if (typeof option !== 'string') return option;
  const cache = caches.get(option);
  if (cache) return cache;
  const known = [...processWide().named.keys()].join(', ') || 'none';
  throw new TypeError(
    `option 'cache': no cache is named '${option}' (named are: ${known}); call caches.set('${option}', cache) first`,
  );
}

/** The cache that the registry has for a queue. */
export function cacheOfQueue(queueName: string): LockCache | undefined {
  const { named, default: byDefault } = processWide();
  return named.get(queueName) ?? byDefault;
}

/** The cache of a `Lock` of no queue. */
export function defaultCache(): LockCache {
  const shared = processWide();
  if (shared.default) return shared.default;
  shared.memory ??= new MemoryCache();
  return shared.memory;
}

/** Whether a cache is the memory of this process alone. */
export function isInMemory(cache: LockCache): boolean {
  return cache instanceof MemoryCache || (cache instanceof SimpleCache && cache.isInMemory);
}

/**
 * Makes a lock cache of what was given.
 * @throws TypeError it lacks a method.
 */
export function asLockCache(cache: Cache, option: string): LockCache {
  if (typeof cache !== 'object' || cache === null) {
    throw new TypeError(`${option} must be a cache, not ${cache === null ? 'null' : typeof cache}`);
  }
  if ('acquire' in cache) {
    const missing = missingMethods(cache, ['acquire', 'renew', 'release', 'inspect']);
    if (missing.length > 0) throw new TypeError(`${option}: the lock cache has no ${missing.join(', no ')}`);
    return cache;
  }
  const missing = missingMethods(cache, ['get', 'set', 'delete' in cache ? 'delete' : 'del']);
  if (missing.length > 0) {
    const lacks = missing.map(method => (method === 'del' ? 'delete (or del)' : method));
    throw new TypeError(
      `${option}: a store needs get, set and delete (or del); this one, ${cache.constructor?.name ?? 'an object'}, has no ${lacks.join(', no ')}`,
    );
  }
  const { ofStores } = processWide();
  const known = ofStores.get(cache) ?? new SimpleCache(cache);
  ofStores.set(cache, known);
  return known;
}

function missingMethods(cache: object, methods: readonly string[]): string[] {
  return methods.filter(method => typeof (cache as Record<string, unknown>)[method] !== 'function');
}
