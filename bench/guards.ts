/** The guards that a worker is run under: none, ours, what people write by hand, and the published lock libraries. */

import { randomUUID } from 'node:crypto';
import { createRequire } from 'node:module';
import { Redlock as SesamecareRedlock } from '@sesamecare-oss/redlock';
import { onceProcessor, RedisCache } from 'bullmq-once';
import { Redis } from 'ioredis';
import { createClient } from 'redis';
import { Mutex } from 'redis-semaphore';
import { createLock, IoredisAdapter, NodeRedisAdapter } from 'redlock-universal';

export const TTL = 30_000;

export interface KeyedJob {
  readonly data: { readonly key: string };
}

/** Runs a job or, where its key is held, skips it. */
export type Processor = (job: any, token?: string) => Promise<unknown>;

/** A guard that has connected where it needs to. */
export interface Guarded {
  readonly processor: Processor;
  close(): unknown;
}

export interface Guard {
  readonly name: string;
  /** Whether it works for a queue whose connection is of the other client. */
  readonly clients: readonly ('ioredis' | 'node-redis')[];
  wrap(work: () => Promise<unknown>, url: string, client: 'ioredis' | 'node-redis'): Promise<Guarded>;
}

const nothing = () => {};

const bare: Guard = {
  name: 'no guard',
  clients: ['ioredis', 'node-redis'],
  wrap: async work => ({ processor: () => work(), close: nothing }),
};

const ours: Guard = {
  name: 'bullmq-once',
  clients: ['ioredis', 'node-redis'],
  wrap: async work => ({ processor: onceProcessor(work, { key: '{key}' }), close: nothing }),
};

const oursElsewhere: Guard = {
  name: 'bullmq-once, locks on a connection of their own',
  clients: ['ioredis', 'node-redis'],
  async wrap(work, url, client) {
    const { redis, close } = await connect(url, client);
    const cache = new RedisCache(redis as Redis);
    return { processor: onceProcessor(work, { key: '{key}', cache }), close };
  },
};

export const RELEASE = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`;

/** What most people write: no renewal, no take-over, so a job that outlives the ttl or a crash is not protected. */
const handWritten: Guard = {
  name: 'by hand: SET NX, Lua to release',
  clients: ['ioredis', 'node-redis'],
  async wrap(work, url, client) {
    const { redis, close } = await connect(url, client);
    const take = (key: string, token: string) =>
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
        if ((await take(`lock:${key}`, token)) !== 'OK') return;
        try {
          return await work();
        } finally {
          await release(`lock:${key}`, token);
        }
      },
    };
  },
};

const redlock4: Guard = {
  name: 'redlock 4',
  clients: ['ioredis'],
  async wrap(work, url) {
    const redis = new Redis(url);
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
  clients: ['ioredis'],
  async wrap(work, url) {
    const redis = new Redis(url);
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
  clients: ['ioredis'],
  async wrap(work, url) {
    const redis = new Redis(url);
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
  clients: ['ioredis', 'node-redis'],
  async wrap(work, url, client) {
    const { redis, close } = await connect(url, client);
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
  redlock4,
  sesamecare,
  semaphore,
  universal,
];

function skipIf(isHeld: boolean, error: unknown): undefined {
  if (!isHeld) throw error;
}

async function connect(url: string, client: 'ioredis' | 'node-redis') {
  if (client === 'ioredis') {
    const redis = new Redis(url);
    return { redis, close: () => redis.disconnect() };
  }
  const redis = createClient({ url });
  await redis.connect();
  return { redis, close: () => redis.destroy() };
}
