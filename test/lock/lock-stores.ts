/** One store of each kind that a lock can be kept in. */

import { type Cache, MemoryCache, RedisCache } from '../../src/index.ts';
import { connectRedis } from '../support/index.ts';

export interface LockStore {
  readonly cache: Cache;
  close(): void;
}

/** A store in which others may have values, too. */
export interface SharedStore extends LockStore {
  write(storedKey: string, value: string): unknown;
  read(storedKey: string): unknown;
}

export const SHARED_STORES: Readonly<Record<string, () => SharedStore>> = {
  'in a Map': () => {
    const map = new Map<string, unknown>();
    return {
      cache: map,
      write: (storedKey, value) => map.set(storedKey, value),
      read: storedKey => map.get(storedKey),
      close() {},
    };
  },
  'in Redis': () => {
    const redis = connectRedis();
    return {
      cache: new RedisCache(redis),
      write: (storedKey, value) => redis.set(storedKey, value),
      read: storedKey => redis.get(storedKey),
      close: () => redis.disconnect(),
    };
  },
};

export const LOCK_STORES: Readonly<Record<string, () => LockStore>> = {
  'in a MemoryCache': () => ({ cache: new MemoryCache(), close() {} }),
  ...SHARED_STORES,
};
