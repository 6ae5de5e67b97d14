/** The guards that are compared: none, ours, what people write by hand, and the published lock libraries. */

import { createRequire } from 'node:module';
import { Redlock as SesamecareRedlock } from '@sesamecare-oss/redlock';
import { onceProcessor, RedisCache } from 'bullmq-once';
import { Redis } from 'ioredis';
import pg from 'pg';
import { Mutex } from 'redis-semaphore';
import { createLock, IoredisAdapter, NodeRedisAdapter } from 'redlock-universal';
import { type Acquire, nodeRedis, onIoredis, onNodeRedis, onPostgres, TTL } from './by-hand.ts';
import type { Servers, Store } from './stores.ts';

export interface KeyedJob {
  readonly data: { readonly key: string };
}

/** Runs a job, or skips it if its key is held. */
export type Processor = (job: any, token?: string) => Promise<unknown>;

/** A guard that is connected. */
export interface Guarded {
  readonly processor: Processor;
  close(): unknown;
}

export interface Guard {
  readonly name: string;
  /** The stores and clients that it works on. */
  readonly stores: readonly Store[];
  readonly isLibrary?: true;
  wrap(work: () => Promise<unknown>, servers: Servers, store: Store): Promise<Guarded>;
}

export const NO_GUARD = 'no guard';
export const OURS = 'bullmq-once';
export const BY_HAND = 'by hand: SET NX, Lua to release';

const nothing = () => {};

const bare: Guard = {
  name: NO_GUARD,
  stores: ['ioredis', 'node-redis', 'postgres'],
  wrap: async work => ({ processor: () => work(), close: nothing }),
};

const ours: Guard = {
  name: OURS,
  stores: ['ioredis', 'node-redis', 'postgres'],
  wrap: async work => ({ processor: onceProcessor(work, { key: '{key}' }), close: nothing }),
};

const oursElsewhere: Guard = {
  name: 'bullmq-once, own Redis connection',
  stores: ['ioredis', 'node-redis', 'postgres'],
  async wrap(work, servers, store) {
    const { redis, close } = await connect(servers, store === 'node-redis' ? store : 'ioredis');
    const cache = new RedisCache(redis as Redis);
    return { processor: onceProcessor(work, { key: '{key}', cache }), close };
  },
};

/** What most people write. */
const handWritten: Guard = {
  name: BY_HAND,
  stores: ['ioredis', 'node-redis'],
  async wrap(work, servers, store) {
    const { redis, close } = await connect(servers, store);
    const { byHand } = redis instanceof Redis ? onIoredis(redis) : await onNodeRedis(redis);
    return { processor: guardedBy(byHand, work), close };
  },
};

/** The same in SQL, for a queue on PostgreSQL. */
const handWrittenSql: Guard = {
  name: 'by hand: INSERT … ON CONFLICT, DELETE to release',
  stores: ['postgres'],
  async wrap(work, servers) {
    const pool = new pg.Pool({ connectionString: servers.postgres, max: 10 });
    const { byHand } = await onPostgres(pool);
    return { processor: guardedBy(byHand, work), close: () => pool.end() };
  },
};

function guardedBy(acquire: Acquire, work: () => Promise<unknown>): Processor {
  return async ({ data: { key } }: KeyedJob) => {
    const release = await acquire(`lock:${key}`);
    if (!release) return;
    try {
      return await work();
    } finally {
      await release();
    }
  };
}

const redlock4: Guard = {
  name: 'redlock 4',
  stores: ['ioredis'],
  isLibrary: true,
  async wrap(work, servers) {
    const redis = new Redis(servers.redis);
    const Redlock = createRequire(import.meta.url)('redlock');
    const redlock = new Redlock([redis], { retryCount: 0 });
    return {
      close: () => redis.disconnect(),
      async processor({ data: { key } }: KeyedJob) {
        let lock: { unlock(): Promise<void> };
        try {
          lock = await redlock.lock(`lock:${key}`, TTL);
        } catch (error) {
          return skipIf((error as Error).name === 'LockError', error);
        }
        try {
          return await work();
        } finally {
          await lock.unlock();
        }
      },
    };
  },
};

const sesamecare: Guard = {
  name: '@sesamecare-oss/redlock',
  stores: ['ioredis'],
  isLibrary: true,
  async wrap(work, servers) {
    const redis = new Redis(servers.redis);
    const redlock = new SesamecareRedlock([redis as never], { retryCount: 0 });
    return {
      close: () => redis.disconnect(),
      async processor({ data: { key } }: KeyedJob) {
        try {
          return await redlock.using([`lock:${key}`], TTL, work);
        } catch (error) {
          return skipIf((error as Error).name === 'ExecutionError', error);
        }
      },
    };
  },
};

const semaphore: Guard = {
  name: 'redis-semaphore',
  stores: ['ioredis'],
  isLibrary: true,
  async wrap(work, servers) {
    const redis = new Redis(servers.redis);
    return {
      close: () => redis.disconnect(),
      async processor({ data: { key } }: KeyedJob) {
        const mutex = new Mutex(redis as never, key, { lockTimeout: TTL, acquireAttemptsLimit: 1 });
        if (!(await mutex.tryAcquire())) return;
        try {
          return await work();
        } finally {
          await mutex.release();
        }
      },
    };
  },
};

const universal: Guard = {
  name: 'redlock-universal',
  stores: ['ioredis', 'node-redis'],
  isLibrary: true,
  async wrap(work, servers, store) {
    const { redis, close } = await connect(servers, store);
    const adapter =
      redis instanceof Redis ? new IoredisAdapter(redis as never) : new NodeRedisAdapter(redis as never);
    return {
      close,
      async processor({ data: { key } }: KeyedJob) {
        const lock = createLock({ adapter, key: `lock:${key}`, ttl: TTL, retryAttempts: 0 });
        try {
          return await lock.using(work);
        } catch (error) {
          return skipIf((error as { code?: string }).code === 'LOCK_ACQUISITION_FAILED', error);
        }
      },
    };
  },
};

export const guards: readonly Guard[] = [
  bare,
  ours,
  oursElsewhere,
  handWritten,
  handWrittenSql,
  redlock4,
  sesamecare,
  semaphore,
  universal,
];

function skipIf(isHeld: boolean, error: unknown): undefined {
  if (!isHeld) throw error;
}

async function connect(servers: Servers, store: Store) {
  if (store === 'ioredis') {
    const redis = new Redis(servers.redis);
    return { redis, close: () => redis.disconnect() };
  }
  const redis = nodeRedis(servers.redis);
  await redis.connect();
  return { redis, close: () => redis.destroy() };
}
