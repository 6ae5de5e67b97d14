/** The guards that are compared: none, ours, what people write by hand, and the published lock libraries. */

import { randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { Redlock as SesamecareRedlock } from '@sesamecare-oss/redlock';
import { onceProcessor, RedisCache } from 'bullmq-once';
import { Redis } from 'ioredis';
import pg from 'pg';
import { createClient } from 'redis';
import { Mutex } from 'redis-semaphore';
import { createLock, IoredisAdapter, NodeRedisAdapter } from 'redlock-universal';
import type { Servers, Store } from './stores.ts';

export const TTL = 30_000;

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
  wrap(work: () => Promise<unknown>, servers: Servers, store: Store): Promise<Guarded>;
}

const nothing = () => {};

const bare: Guard = {
  name: 'no guard',
  stores: ['ioredis', 'node-redis', 'postgres'],
  wrap: async work => ({ processor: () => work(), close: nothing }),
};

const ours: Guard = {
  name: 'bullmq-once',
  stores: ['ioredis', 'node-redis', 'postgres'],
  wrap: async work => ({ processor: onceProcessor(work, { key: '{key}' }), close: nothing }),
};

const oursElsewhere: Guard = {
  name: 'bullmq-once, locks on a Redis connection of their own',
  stores: ['ioredis', 'node-redis', 'postgres'],
  async wrap(work, servers, store) {
    const { redis, close } = await connect(servers, store === 'node-redis' ? store : 'ioredis');
    const cache = new RedisCache(redis as Redis);
    return { processor: onceProcessor(work, { key: '{key}', cache }), close };
  },
};

export const RELEASE = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`;

/** What most people write. It does not renew, so a job that runs for longer than the ttl is not protected. */
const handWritten: Guard = {
  name: 'by hand: SET NX, Lua to release',
  stores: ['ioredis', 'node-redis'],
  async wrap(work, servers, store) {
    const { redis, close } = await connect(servers, store);
    const acquire = (key: string, token: string) =>
      redis instanceof Redis
        ? redis.set(key, token, 'PX', TTL, 'NX')
        : redis.set(key, token, { expiration: { type: 'PX', value: TTL }, condition: 'NX' });
    if (redis instanceof Redis) redis.defineCommand('releaseByHand', { numberOfKeys: 1, lua: RELEASE });
    const sha = redis instanceof Redis ? '' : await redis.scriptLoad(RELEASE);
    const release = (key: string, token: string) =>
      redis instanceof Redis
        ? (redis as any).releaseByHand(key, token)
        : redis.evalSha(sha, { keys: [key], arguments: [token] });
    return {
      close,
      async processor({ data: { key } }: KeyedJob) {
        const token = randomUUID();
        if ((await acquire(`lock:${key}`, token)) !== 'OK') return;
        try {
          return await work();
        } finally {
          await release(`lock:${key}`, token);
        }
      },
    };
  },
};

/** The same in SQL, for a queue on PostgreSQL. */
const handWrittenSql: Guard = {
  name: 'by hand: INSERT … ON CONFLICT, DELETE to release',
  stores: ['postgres'],
  async wrap(work, servers) {
    const pool = new pg.Pool({ connectionString: servers.postgres, max: 10 });
    await pool.query(
      'CREATE TABLE IF NOT EXISTS locks_by_hand (key text PRIMARY KEY, token uuid NOT NULL, expires timestamptz NOT NULL)',
    );
    return {
      close: () => pool.end(),
      async processor({ data: { key } }: KeyedJob) {
        const token = randomUUID();
        const acquired = await pool.query({
          name: 'acquire',
          text: `INSERT INTO locks_by_hand AS held VALUES ($1, $2, now() + $3 * interval '1 ms') ON CONFLICT (key)
            DO UPDATE SET token = excluded.token, expires = excluded.expires WHERE held.expires < now()`,
          values: [key, token, TTL],
        });
        if (acquired.rowCount !== 1) return;
        try {
          return await work();
        } finally {
          await pool.query({
            name: 'release',
            text: 'DELETE FROM locks_by_hand WHERE key = $1 AND token = $2',
            values: [key, token],
          });
        }
      },
    };
  },
};

const redlock4: Guard = {
  name: 'redlock 4',
  stores: ['ioredis'],
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
  const redis = createClient({ url: servers.redis });
  await redis.connect();
  return { redis, close: () => redis.destroy() };
}
