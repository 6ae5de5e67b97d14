/** A cache that can't be reached. */

import { type LockCache, MemoryCache } from '../../src/index.ts';

/** The message of each failure. */
export const NO_ROUTE = 'no route to the store';

/** A cache in memory of which these methods fail, as if its store could not be reached. */
export function failingCache(...methods: readonly (keyof LockCache)[]): MemoryCache {
  const failing = methods.map(method => [method, () => Promise.reject(new Error(NO_ROUTE))]);
  return Object.assign(new MemoryCache(), Object.fromEntries(failing));
}

/** A cache of which all methods fail that locks need. */
export function unreachableCache(): MemoryCache {
  return failingCache('acquire', 'renew', 'release', 'inspect', 'enter', 'leave', 'lines');
}
