import { GlideClient } from '@valkey/valkey-glide';
import type { Job } from 'bullmq';
import { expect } from 'chai';
import pg from 'pg';
import { createClient } from 'redis';
import {
  Lock,
  type LockCache,
  LockError,
  MemoryCache,
  once,
  onceProcessor,
  RedisCache,
} from '../../src/index.ts';
import { PostgresCache } from '../../src/postgres.ts';
import { Bench, oneOfEachKind, setupNamed } from '../support/bullmq.ts';
import {
  connectRedis,
  deferred,
  redisOptions,
  redisUrl,
  rejection,
  uniqueName,
  until,
} from '../support/index.ts';
import { sharedCluster, sharedPostgres } from '../support/shared-servers.ts';

interface Made {
  readonly cache: LockCache;
  close(): unknown;
}

/** Those that tell who waits, and those in which whoever waits asks often. */
const caches: { name: string; tells: boolean; make(): Promise<Made> }[] = [
  { name: 'a MemoryCache', tells: true, make: async () => ({ cache: new MemoryCache(), close: () => {} }) },
  {
    name: 'Redis by ioredis',
    tells: true,
    make: async () => {
      const redis = connectRedis();
      return { cache: new RedisCache(redis), close: () => redis.disconnect() };
    },
  },
  {
    name: 'Redis by node-redis',
    tells: true,
    make: async () => {
      const redis = createClient({ url: redisUrl() });
      redis.on('error', () => {});
      await redis.connect();
      return { cache: new RedisCache(redis as never), close: () => redis.destroy() };
    },
  },
  {
    name: 'Redis by Valkey GLIDE',
    tells: false,
    make: async () => {
      const redis = await GlideClient.createClient({ addresses: [redisOptions()] });
      return { cache: new RedisCache(redis), close: () => redis.close() };
    },
  },
  {
    name: 'a Redis Cluster',
    tells: true,
    make: async () => {
      const redis = (await sharedCluster()).connect();
      return { cache: new RedisCache(redis as never), close: () => redis.disconnect() };
    },
  },
  {
    name: 'PostgreSQL',
    tells: true,
    make: async () => {
      const pool = new pg.Pool({ connectionString: (await sharedPostgres()).url, max: 2 });
      return { cache: new PostgresCache(pool), close: () => pool.end() };
    },
  },
];

for (const { name, tells, make } of caches) {
  describe(`who waits for a lock in ${name}`, () => {
    let cache: LockCache;
    let close: () => unknown;
    let key: string;
    beforeEach(async () => {
      ({ cache, close } = await make());
      key = uniqueName('k');
    });
    afterEach(() => close());

    it('gets it when its holder lets go', async () => {
      const holder = await new Lock(key, { cache }).acquire();

      const waiting = new Lock(key, { cache }).acquire({ waitFor: 20_000 });
      await holder.release();
      const lock = await waiting;

      expect(lock.held).to.equal(true);
      expect(lock.fence).to.be.greaterThan(holder.fence);
      await lock.release();
    });

    if (tells) {
      it('is told of it, and need not ask often', async () => {
        let claims = 0;
        const watches: { listens: boolean }[] = [];
        const counted = Object.assign(Object.create(cache) as LockCache, {
          acquire: (...args: Parameters<LockCache['acquire']>) => {
            claims++;
            return cache.acquire(...args);
          },
          renew: (...args: Parameters<LockCache['renew']>) => cache.renew(...args),
          release: (...args: Parameters<LockCache['release']>) => cache.release(...args),
          inspect: (...args: Parameters<LockCache['inspect']>) => cache.inspect(...args),
          exchange: undefined,
          watch: (...args: Parameters<NonNullable<LockCache['watch']>>) => {
            const watch = cache.watch?.(...args);
            if (watch) watches.push(watch);
            return watch;
          },
        });
        const holder = await new Lock(key, { cache }).acquire();
        const waiting = new Lock(key, { cache: counted }).acquire({ waitFor: 20_000 });
        await until(() => watches[0]?.listens === true);
        const asked = claims;

        await holder.release();
        const lock = await waiting;

        // Once when it begins to listen, once when it is told, and once between if its last pause had begun before it listened.
        expect(claims - asked).to.be.within(1, 3);
        await lock.release();
      });
    }

    it('gives up in time, and says who holds it', async () => {
      const holder = await new Lock(key, { cache, owner: 'first' }).acquire();
      const startedAt = performance.now();

      const error = (await rejection(
        new Lock(key, { cache }).acquire({ waitFor: 120 }),
      )) as unknown as LockError;

      expect(performance.now() - startedAt).to.be.at.least(115);
      expect(error).to.be.instanceOf(LockError);
      expect(error.holder.owner).to.equal('first');
      await holder.release();
    });

    it('gets the lock of a holder that died, when its lease ends', async () => {
      const token = uniqueName('token');
      const fullKey = `once:1:default:${key}`;
      await cache.acquire([{ key: fullKey, token, owner: 'dead', attempt: 0, ttl: 200 }]);

      const lock = await new Lock(key, { cache }).acquire({ waitFor: 20_000 });

      expect(lock.held).to.equal(true);
      await lock.release();
    });

    it('is served in the order in which it came, within one process', async () => {
      const holder = await new Lock(key, { cache }).acquire();
      const served: number[] = [];

      const all = Array.from({ length: 8 }, async (_, i) => {
        await new Lock(key, { cache }).run(() => void served.push(i), { waitFor: 20_000 });
      });
      await holder.release();
      await Promise.all(all);

      expect(served).to.deep.equal([0, 1, 2, 3, 4, 5, 6, 7]);
    });

    it('goes away when its signal aborts, and holds up nobody behind it', async () => {
      const holder = await new Lock(key, { cache }).acquire();
      const controller = new AbortController();
      const first = new Lock(key, { cache }).acquire({ waitFor: 20_000, signal: controller.signal });
      const second = new Lock(key, { cache }).acquire({ waitFor: 20_000 });

      controller.abort(new Error('enough'));
      const error = await rejection(first);
      await holder.release();

      expect(error.message).to.equal('enough');
      expect((await second).held).to.equal(true);
      await (await second).release();
    });
  });
}

describe('who stands in line behind another of its process', () => {
  /** A cache that answers until it is told to fall silent. */
  function falteringCache() {
    const stored = new MemoryCache();
    let silent = false;
    let asked = 0;
    const cache: LockCache = {
      acquire: claims => {
        asked++;
        return silent ? new Promise(() => {}) : stored.acquire(claims);
      },
      renew: leases => stored.renew(leases),
      release: leases => stored.release(leases),
      inspect: keys => stored.inspect(keys),
    };
    return {
      cache,
      asked: () => asked,
      fallSilent: () => {
        silent = true;
      },
    };
  }

  it('is told who holds the key by what that one has met since it came', async () => {
    const { cache } = falteringCache();
    const holder = await new Lock('k', { cache, owner: 'the holder' }).acquire();
    const first = new Lock('k', { cache }).acquire({ waitFor: 60_000 });

    const error = await rejection(new Lock('k', { cache }).acquire({ waitFor: 1200 }));
    await holder.release();

    expect(error).to.include({ code: 'ERR_LOCK_HELD' });
    expect(error.holder).to.include({ owner: 'the holder' });
    await (await first).release();
  });

  it('is not told "held" by what was met before it came, when the cache answers no more', async () => {
    const { cache, asked, fallSilent } = falteringCache();
    const holder = await new Lock('k', { cache }).acquire();
    const first = rejection(new Lock('k', { cache, ttl: 400 }).acquire({ waitFor: 60_000 }));
    await until(() => asked() >= 3);
    fallSilent();

    const error = await rejection(new Lock('k', { cache, ttl: 400 }).acquire({ waitFor: 50 }));

    expect(error).to.include({ code: 'ERR_LOCK_CACHE' });
    expect(await first).to.include({ code: 'ERR_LOCK_CACHE' });
    await holder.release();
  });
});

describe('a process that has waited in Redis and in PostgreSQL', () => {
  it('keeps no connection for it', async () => {
    const redis = connectRedis();
    const holder = await new Lock(uniqueName('k'), { cache: new RedisCache(redis) }).acquire();
    const listeners = async () =>
      ((await redis.client('LIST')) as string)
        .split('\n')
        .filter(line => line.includes('bullmq-once:waiting')).length;
    const before = await listeners();

    await rejection(new Lock(holder.key, { cache: new RedisCache(redis) }).acquire({ waitFor: 100 }));
    await until(async () => (await listeners()) <= before);

    await holder.release();
    redis.disconnect();
  });
});

for (const setup of [...oneOfEachKind, setupNamed('BullMQ 6 with a node-redis client')]) {
  describe(`a duplicate that waits its turn, on ${setup.name}`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    /** Runs jobs that end when their gate opens; the second of them waits for `waitFor`. */
    async function twoJobs(options: { waitFor: number; raiseIfLock?: boolean }) {
      const gate = deferred();
      const ran: unknown[] = [];
      const { waitFor, ...others } = options;
      const worker = await bench.worker(
        onceProcessor(
          async (job: Job) => {
            ran.push(job.id);
            if (ran.length === 1) await gate.promise;
            return 'worked';
          },
          { key: 'k', whenLocked: { waitFor }, ...others },
        ),
        { concurrency: 2 },
      );
      const first = await bench.add({});
      await until(() => ran.length === 1);
      const second = await bench.add({});
      await until(async () => (await second.getState()) === 'active');
      return { gate, ran, first, second, worker };
    }

    it('runs in its slot once the holder is done', async () => {
      const { gate, ran, first, second } = await twoJobs({ waitFor: 30_000 });

      gate.resolve();

      expect(await bench.result(second)).to.equal('worked');
      expect(ran).to.deep.equal([first.id, second.id]);
      expect(await bench.holder('k')).to.equal(undefined);
    });

    it('is not run by who waited where it stalled meanwhile, and is run by another', async () => {
      const redis = connectRedis();
      const shared = { cache: new RedisCache(redis), scope: uniqueName('scope') };
      const holder = await new Lock('k', shared).acquire();
      const ran: unknown[] = [];
      const processorOf = (name: string) =>
        onceProcessor(async (job: Job) => void ran.push([name, job.attemptsStarted]), {
          ...shared,
          ...{ key: 'k', whenLocked: { waitFor: 60_000 } },
        });
      // It does not renew BullMQ's own lock, so that its job counts as stalled, though it lives and waits.
      const stalling = { lockDuration: 1000, skipLockRenewal: true, skipStalledCheck: true };
      await bench.worker(processorOf('first'), stalling);
      const job = await bench.add({});
      await until(async () => (await job.getState()) === 'active');
      await bench.worker(processorOf('second'), { stalledInterval: 200, lockDuration: 5000 });
      await until(async () => (await bench.queue.getJob(job.id as string))?.attemptsStarted === 2);

      await holder.release();
      await bench.ended(job);

      expect(ran).to.deep.equal([['second', 2]]);
      expect(await new Lock('k', shared).tryAcquire()).to.equal(true);
      redis.disconnect();
    });

    it('is skipped if that takes too long', async () => {
      const { gate, ran, first, second } = await twoJobs({ waitFor: 50 });

      expect(await bench.result(second)).to.equal(null);

      gate.resolve();
      await bench.result(first);
      expect(ran).to.deep.equal([first.id]);
    });

    it('or fails, with raiseIfLock', async () => {
      const { gate, first, second } = await twoJobs({ waitFor: 50, raiseIfLock: true });

      expect(await bench.failure(second)).to.match(/^lock 'k' is held by/);

      gate.resolve();
      await bench.result(first);
    });

    it('stops to wait when BullMQ cancels it', async () => {
      const { gate, ran, first, second, worker } = await twoJobs({ waitFor: 60_000 });

      await until(() => worker.cancelJob(second.id as string, 'no longer wanted'));

      expect(await bench.failure(second)).to.match(/no longer wanted|abort/i);
      gate.resolve();
      await bench.result(first);
      expect(ran).to.deep.equal([first.id]);
    });
  });
}

describe('a call of a guarded function', () => {
  it('waits its turn, where whenLocked says so', async () => {
    const cache = new MemoryCache();
    const gate = deferred();
    const ran: number[] = [];
    const guarded = once(
      async (n: number) => {
        ran.push(n);
        await gate.promise;
        return n;
      },
      { key: 'k', cache, whenLocked: { waitFor: 20_000 } },
    );

    const both = Promise.all([guarded(1), guarded(2)]);
    gate.resolve();

    expect(await both).to.deep.equal([1, 2]);
    expect(ran).to.deep.equal([1, 2]);
  });

  it('or is what a function says', async () => {
    const cache = new MemoryCache();
    const gate = deferred();
    const guarded = once(async (_n: number) => gate.promise, {
      key: 'k',
      cache,
      whenLocked: (holder, n: number) => `${n} finds it ${holder.state}`,
    });
    const first = guarded(1);

    expect(await guarded(2)).to.equal('2 finds it running');

    gate.resolve();
    await first;
  });
});
