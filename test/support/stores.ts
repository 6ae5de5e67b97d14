/** One cache of each kind, by where its locks are: for what each must do by itself, beyond the conformance suite. */

import pg from 'pg';
import { type LockCache, MemoryCache, RedisCache } from '../../src/index.ts';
import { PostgresCache } from '../../src/postgres.ts';
import { connectRedis } from './index.ts';
import { sharedPostgres } from './shared-servers.ts';

export const stores: Readonly<Record<string, () => Promise<{ cache: LockCache; close(): unknown }>>> = {
  'in a MemoryCache': async () => ({ cache: new MemoryCache(), close() {} }),
  'in Redis': async () => {
    const redis = connectRedis();
    return { cache: new RedisCache(redis), close: () => redis.disconnect() };
  },
  'in PostgreSQL': async () => {
    const pool = new pg.Pool({ connectionString: (await sharedPostgres()).url });
    return { cache: new PostgresCache(pool), close: () => pool.end() };
  },
};
