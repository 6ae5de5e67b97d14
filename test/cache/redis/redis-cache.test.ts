import { GlideClient } from '@valkey/valkey-glide';
import { expect } from 'chai';
import { Cluster, type Redis } from 'ioredis';
import { createClient } from 'redis';
import type { AcquireResult } from '../../../src/cache/contract.ts';
import type { RedisClient } from '../../../src/cache/redis/client.ts';
import { RedisCache } from '../../../src/cache/redis/redis-cache.ts';
import { Lock } from '../../../src/lock/lock.ts';
import { connectRedis, redisOptions, redisUrl, rejection, uniqueName } from '../../support/index.ts';
import { acquire, acquireStep, releaseStep, renewStep } from '../../support/steps.ts';

describe('RedisCache', () => {
  let redis: ReturnType<typeof connectRedis>;
  let cache: RedisCache;
  before(() => {
    redis = connectRedis();
    cache = new RedisCache(redis);
  });
  after(() => redis.disconnect());

  it('stores a record that redis-cli can show, and lets Redis expire it', async () => {
    const a = acquireStep({ owner: 'bull:emails:17@1732480000000', attempt: 2, ttl: 60_000 });
    const result = await acquire(cache, a);

    const stored = JSON.parse((await redis.get(a.storedKey)) as string);

    expect(Object.keys(stored)).to.deep.equal([
      'once',
      'state',
      'token',
      'ttl',
      'attempt',
      'owner',
      'fence',
      'since',
    ]);
    expect(stored).to.deep.include({ once: 1, state: 'running', token: a.token, attempt: 2, owner: a.owner });
    expect(stored.fence).to.equal(result.acquired && result.fence);
    expect(await redis.pttl(a.storedKey)).to.be.within(50_000, 60_000);
  });

  it("takes its fences from the server's clock, in microseconds", async () => {
    const [seconds] = (await redis.time()) as unknown as [string, string];
    const result = await acquire(cache, acquireStep());

    expect(result.acquired && result.fence / 1e6).to.be.within(Number(seconds), Number(seconds) + 60);
  });

  it('gives a fence above the one before (the clock was set back)', async () => {
    const a = acquireStep({ owner: 'me', attempt: 1 });
    await acquire(cache, a);
    const stored = JSON.parse((await redis.get(a.storedKey)) as string);
    const future = stored.fence + 3.6e9;
    await redis.set(a.storedKey, JSON.stringify({ ...stored, fence: future }));

    const b = acquireStep({ storedKey: a.storedKey, owner: 'me', attempt: 2 });
    const reclaimed = await acquire(cache, b);
    const next = acquireStep({ storedKey: a.storedKey });
    const { acquired } = await cache.exchange({
      releases: [releaseStep(b)],
      renewals: [],
      acquisitions: [next],
    });

    expect(reclaimed).to.deep.equal({ acquired: true, fence: future + 1, reclaimed: true });
    expect(acquired).to.deep.equal([{ acquired: true, fence: future + 2, reclaimed: false }]);
  });

  const foreignValues: Record<string, (key: string, owner: string) => Promise<unknown>> = {
    'a hash': key => redis.hset(key, 'a', 1),
    'a list': key => redis.rpush(key, 1),
    'a set': key => redis.sadd(key, 1),
    'a sorted set': key => redis.zadd(key, 1, 'a'),
    'a stream': key => redis.xadd(key, '*', 'a', 1),
    'a string': key => redis.set(key, 'x', 'PX', 60_000),
    'half a record': key => redis.set(key, '{"once":1,"state":"run'),
    'a record with a state that is a number': key => redis.set(key, '{"once":1,"state":7}'),
    'a record that has no token': (key, owner) =>
      redis.set(key, `{"once":1,"state":"running","owner":${JSON.stringify(owner)}}`),
  };
  for (const [what, store] of Object.entries(foreignValues)) {
    it(`refuses a key that has a foreign value, and leaves the value alone (${what})`, async () => {
      const a = acquireStep();
      await store(a.storedKey, a.owner);
      const dump = await redis.dumpBuffer(a.storedKey);
      const free = acquireStep();

      const results = (await cache.acquire([a, free])) as AcquireResult[];
      const released = await cache.release([releaseStep(a), releaseStep(free)]);

      expect(results.map(({ acquired }) => acquired)).to.deep.equal([false, true]);
      expect(released).to.deep.equal([false, true]);
      expect(await redis.dumpBuffer(a.storedKey)).to.deep.equal(dump);
      if (what === 'a string') {
        const result = results[0] as AcquireResult;
        expect(!result.acquired && result.record.expiresIn).to.be.within(1, 60_000);
      }
    });
  }

  it('runs no part of a key, an owner or a token as a script', async () => {
    const nasty = `"]} redis.call('FLUSHALL') --[[ ' .. os.exit() .. "\\\n\r\0`;
    const canary = uniqueName();
    await redis.set(canary, 'alive');
    const a = acquireStep({ storedKey: canary + nasty, owner: nasty, token: nasty.replaceAll('"', '') });

    const result = await acquire(cache, a);
    const [record] = await cache.inspect([a.storedKey]);

    expect(result.acquired).to.equal(true);
    expect(await redis.get(canary)).to.equal('alive');
    expect(record?.owner ?? 'unreadable').to.equal(nasty);
  });

  it('sends its scripts again, in the order of its calls (the server has lost them)', async () => {
    const node = await createClient({ url: redisUrl() }).connect();
    for (const [client, flush] of [
      [redis, () => redis.script('FLUSH')],
      [node, () => node.scriptFlush()],
    ] as [RedisClient, () => Promise<unknown>][]) {
      const own = new RedisCache(client);
      const a = acquireStep();
      await acquire(own, a);
      await flush();

      const [released, again] = await Promise.all([
        own.release([releaseStep(a)]),
        own.acquire([acquireStep({ storedKey: a.storedKey })]),
      ]);

      expect(released).to.deep.equal([true]);
      expect(again[0]).to.include({ acquired: true });
    }
    node.destroy();
  });

  it('sends its scripts to a server that does not have them, by each kind of client', async () => {
    const node = await createClient({ url: redisUrl() }).connect();
    const glide = await GlideClient.createClient({ addresses: [redisOptions()] });
    for (const client of [connectRedis(), node, glide as RedisClient]) {
      await redis.script('FLUSH');
      const own = new RedisCache(client);
      const a = acquireStep();

      expect((await acquire(own, a)).acquired).to.equal(true);
      await redis.script('FLUSH');
      expect((await own.inspect([a.storedKey]))[0]?.owner).to.equal(a.owner);
    }
    node.destroy();
    glide.close();
  });

  it('sends a batch in one call, and a large batch in as few calls as possible', async () => {
    const calls = async () => {
      const stats = (await redis.info('commandstats')).matchAll(/cmdstat_eval(?:sha)?:calls=(\d+)/g);
      return [...stats].reduce((sum, [, count]) => sum + Number(count), 0);
    };
    // From now on the server has the script.
    await cache.acquire([acquireStep(), acquireStep()]);

    const before = await calls();
    await cache.acquire(Array.from({ length: 100 }, () => acquireStep()));
    const one = await calls();
    await cache.acquire(Array.from({ length: 300 }, () => acquireStep()));
    const three = await calls();

    expect([one - before, three - one]).to.deep.equal([1, 3]);
  });

  it('answers many acquisitions of one key in a batch, each as if it were alone', async () => {
    const mine = acquireStep({ owner: 'me', attempt: 1 });
    const { storedKey } = mine;
    const rival = () => acquireStep({ storedKey });
    const again = acquireStep({ storedKey, owner: 'me', attempt: 2 });
    const other = acquireStep();

    const results = await cache.acquire([mine, rival(), rival(), mine, again, other, rival(), rival()]);

    const answers = results.map(result =>
      result instanceof Error ? result : result.acquired ? result.reclaimed : result.record.attempt,
    );
    expect(answers).to.deep.equal([false, 1, 1, false, true, false, 2, 2]);
    const [first, , third, resent] = results as any[];
    expect(third.record).to.include({ storedKey, owner: 'me' });
    expect(resent.fence).to.equal(first.fence);
  });

  it('gives an error in the place of each answer that it may not read', async () => {
    const user = uniqueName('user');
    await redis.call('ACL', 'SETUSER', user, 'on', '>secret', '~*', '+@all', '-get', '-mget');
    const limited = connectRedis({ username: user, password: 'secret' });
    const own = new RedisCache(limited);
    const a = acquireStep();
    const granted = await acquire(own, a);

    const [renewed] = await own.renew([renewStep(a)]);
    const [released] = await own.release([releaseStep(a)]);
    const [result] = await own.acquire([acquireStep({ storedKey: a.storedKey })]);
    const inspected = await own.inspect([a.storedKey]).catch(error => error);

    expect(granted.acquired).to.equal(true);
    for (const answer of [renewed, released, result, inspected]) {
      expect(answer).to.be.instanceOf(Error);
      expect(String(answer)).to.match(/permission|can't run this command|NOPERM/);
    }
    limited.disconnect();
    await redis.call('ACL', 'DELUSER', user);
  });

  const unusable: Record<string, { create(): Promise<RedisClient>; message: RegExp }> = {
    'an ioredis client that was closed': {
      async create() {
        const client = connectRedis();
        await client.quit();
        return client;
      },
      message: /Connection is closed/,
    },
    'an ioredis client that is subscribed': {
      async create() {
        const client = connectRedis({ protocol: 2 } as object);
        await client.subscribe(uniqueName());
        return client;
      },
      message: /subscriber mode/,
    },
    'a node-redis client that was closed': {
      async create() {
        const client = await createClient({ url: redisUrl() }).connect();
        client.destroy();
        return client;
      },
      message: /client is closed/,
    },
    'a node-redis client that was never connected': {
      create: async () => createClient({ url: redisUrl() }),
      message: /client is closed/,
    },
    'a Valkey GLIDE client that was closed': {
      async create() {
        const client = await GlideClient.createClient({ addresses: [redisOptions()] });
        client.close();
        return client as RedisClient;
      },
      message: /closed/,
    },
  };
  for (const [what, { create, message }] of Object.entries(unusable)) {
    it(`fails with a CacheError, and not with a LockError (${what})`, async () => {
      const client = await create();

      const error = await rejection(new Lock('k', { cache: new RedisCache(client) }).acquire());

      expect(error).to.include({ code: 'ERR_LOCK_CACHE' });
      expect(error.message).to.match(message);
      (client as Partial<Redis>).disconnect?.();
    });
  }

  it('refuses a client that has a keyPrefix', () => {
    const prefixed = connectRedis({ keyPrefix: 'mine:' });
    const cluster = new Cluster([redisOptions()], {
      lazyConnect: true,
      redisOptions: { keyPrefix: 'ours:' },
    });

    expect(() => new RedisCache(prefixed)).to.throw(
      TypeError,
      /has the keyPrefix 'mine:'.*duplicate\({ keyPrefix: '' }\)/,
    );
    expect(() => new RedisCache(cluster as never)).to.throw(TypeError, /has the keyPrefix 'ours:'/);
    prefixed.disconnect();
    cluster.disconnect();
  });

  for (const [what, client] of [
    ['nothing', undefined],
    ['null', null],
    ['an address', 'redis://127.0.0.1'],
    ['an empty object', {}],
    ['options', { host: '127.0.0.1' }],
  ] as const) {
    it(`refuses a client that can't run scripts (${what})`, () => {
      expect(() => new RedisCache(client as never)).to.throw(
        TypeError,
        /needs a client that can run scripts: one of ioredis .* it got /,
      );
    });
  }
});
