import { GlideClient } from '@valkey/valkey-glide';
import { expect } from 'chai';
import { Cluster, type Redis } from 'ioredis';
import { createClient } from 'redis';
import type { Verdict } from '../../../src/cache/contract.ts';
import type { RedisClient } from '../../../src/cache/redis/client.ts';
import { Lock, RedisCache } from '../../../src/index.ts';
import { acquire, claim, lease } from '../../support/claims.ts';
import { connectRedis, redisOptions, redisUrl, rejection, uniqueName } from '../../support/index.ts';

describe('RedisCache', () => {
  let redis: ReturnType<typeof connectRedis>;
  let cache: RedisCache;
  before(() => {
    redis = connectRedis();
    cache = new RedisCache(redis);
  });
  after(() => redis.disconnect());

  it('stores what can be read in redis-cli, and lets Redis expire it', async () => {
    const a = claim({ owner: 'bull:emails:17@1732480000000', attempt: 2, ttl: 60_000 });
    const verdict = await acquire(cache, a);

    const stored = JSON.parse((await redis.get(a.key)) as string);

    expect(Object.keys(stored)).to.deep.equal([
      'once',
      'state',
      'token',
      'attempt',
      'owner',
      'fence',
      'since',
    ]);
    expect(stored).to.deep.include({ once: 1, state: 'running', token: a.token, attempt: 2, owner: a.owner });
    expect(stored.fence).to.equal(verdict.taken && verdict.fence);
    expect(await redis.pttl(a.key)).to.be.within(50_000, 60_000);
  });

  it("gives fences by the server's clock, in microseconds", async () => {
    const [seconds] = (await redis.time()) as unknown as [string, string];
    const verdict = await acquire(cache, claim());

    expect(verdict.taken && verdict.fence / 1e6).to.be.within(Number(seconds), Number(seconds) + 60);
  });

  it('gives a fence above the one it replaces when the clock was set back', async () => {
    const a = claim({ owner: 'me', attempt: 1 });
    await acquire(cache, a);
    const stored = JSON.parse((await redis.get(a.key)) as string);
    const future = stored.fence + 3.6e9;
    await redis.set(a.key, JSON.stringify({ ...stored, fence: future }));

    const b = claim({ key: a.key, owner: 'me', attempt: 2 });
    const takenOver = await acquire(cache, b);
    const next = claim({ key: a.key });
    const { claimed } = await cache.exchange({ releases: [lease(b)], renewals: [], claims: [next] });

    expect(takenOver).to.deep.equal({ taken: true, fence: future + 1, tookOver: true });
    expect(claimed).to.deep.equal([{ taken: true, fence: future + 2, tookOver: false }]);
  });

  for (const type of [
    'hash',
    'list',
    'set',
    'zset',
    'stream',
    'text',
    'half a record',
    'a record of no sense',
  ]) {
    it(`takes a foreign value for held and leaves it: ${type}`, async () => {
      const a = claim();
      if (type === 'hash') await redis.hset(a.key, 'a', 1);
      else if (type === 'list') await redis.rpush(a.key, 1);
      else if (type === 'set') await redis.sadd(a.key, 1);
      else if (type === 'zset') await redis.zadd(a.key, 1, 'a');
      else if (type === 'stream') await redis.xadd(a.key, '*', 'a', 1);
      else if (type === 'text') await redis.set(a.key, 'x', 'PX', 60_000);
      else if (type === 'half a record') await redis.set(a.key, '{"once":1,"state":"run');
      else if (type === 'a record of no sense') await redis.set(a.key, '{"once":1,"state":7}');
      else await redis.set(a.key, `{"once":1,"state":"running","owner":${JSON.stringify(a.owner)}}`);
      const dump = await redis.dumpBuffer(a.key);
      const free = claim();

      const verdicts = (await cache.acquire([a, free])) as Verdict[];
      const released = await cache.release([lease(a), lease(free)]);

      expect(verdicts.map(({ taken }) => taken)).to.deep.equal([false, true]);
      expect(released).to.deep.equal([false, true]);
      expect(await redis.dumpBuffer(a.key)).to.deep.equal(dump);
      if (type === 'text') {
        const verdict = verdicts[0] as Verdict;
        expect(!verdict.taken && verdict.holder.expiresIn).to.be.within(1, 60_000);
      }
    });
  }

  it('lets nothing of a key, an owner or a token into the script', async () => {
    const nasty = `"]} redis.call('FLUSHALL') --[[ ' .. os.exit() .. "\\\n\r\0`;
    const canary = uniqueName();
    await redis.set(canary, 'alive');
    const a = claim({ key: canary + nasty, owner: nasty, token: nasty.replaceAll('"', '') });

    const verdict = await acquire(cache, a);
    const [holder] = await cache.inspect([a.key]);

    expect(verdict.taken).to.equal(true);
    expect(await redis.get(canary)).to.equal('alive');
    expect(holder?.owner ?? 'unreadable').to.equal(nasty);
  });

  it('goes on after the server forgot its scripts, in the order of sending', async () => {
    const node = await createClient({ url: redisUrl() }).connect();
    for (const [client, flush] of [
      [redis, () => redis.script('FLUSH')],
      [node, () => node.scriptFlush()],
    ] as [RedisClient, () => Promise<unknown>][]) {
      const own = new RedisCache(client);
      const a = claim();
      await acquire(own, a);
      await flush();

      const [released, again] = await Promise.all([
        own.release([lease(a)]),
        own.acquire([claim({ key: a.key })]),
      ]);

      expect(released).to.deep.equal([true]);
      expect(again[0]).to.include({ taken: true });
    }
    node.destroy();
  });

  it('sends its script to a server that does not have it, by each kind of client', async () => {
    const node = await createClient({ url: redisUrl() }).connect();
    const glide = await GlideClient.createClient({ addresses: [redisOptions()] });
    for (const client of [connectRedis(), node, glide as RedisClient]) {
      await redis.script('FLUSH');
      const own = new RedisCache(client);
      const a = claim();

      expect((await acquire(own, a)).taken).to.equal(true);
      await redis.script('FLUSH');
      expect((await own.inspect([a.key]))[0]?.owner).to.equal(a.owner);
    }
    node.destroy();
    glide.close();
  });

  it('sends a batch in one call, and a large one in as few as it takes', async () => {
    const calls = async () => {
      const stats = (await redis.info('commandstats')).matchAll(/cmdstat_eval(?:sha)?:calls=(\d+)/g);
      return [...stats].reduce((sum, [, count]) => sum + Number(count), 0);
    };
    const before = await calls();
    await cache.acquire(Array.from({ length: 100 }, () => claim()));
    const one = await calls();
    await cache.acquire(Array.from({ length: 300 }, () => claim()));
    const three = await calls();

    expect([one - before, three - one]).to.deep.equal([1, 3]);
  });

  it('answers many claims of one key as it answers one', async () => {
    const mine = claim({ owner: 'me', attempt: 1 });
    const { key } = mine;
    const rival = () => claim({ key });
    const again = claim({ key, owner: 'me', attempt: 2 });
    const other = claim();

    const verdicts = await cache.acquire([mine, rival(), rival(), mine, again, other, rival(), rival()]);

    const told = verdicts.map(verdict =>
      verdict instanceof Error ? verdict : verdict.taken ? verdict.tookOver : verdict.holder.attempt,
    );
    expect(told).to.deep.equal([false, 1, 1, false, true, false, 2, 2]);
    const [first, , third, resent] = verdicts as any[];
    expect(third.holder).to.include({ key, owner: 'me' });
    expect(resent.fence).to.equal(first.fence);
  });

  it('fails where it may not read, instead of taking it for an answer', async () => {
    const user = uniqueName('user');
    await redis.call('ACL', 'SETUSER', user, 'on', '>secret', '~*', '+@all', '-get', '-mget');
    const limited = connectRedis({ username: user, password: 'secret' });
    const own = new RedisCache(limited);
    const a = claim();
    const granted = await acquire(own, a);

    const [renewed] = await own.renew([lease(a)]);
    const [released] = await own.release([lease(a)]);
    const [verdict] = await own.acquire([claim({ key: a.key })]);
    const inspected = await own.inspect([a.key]).catch(error => error);

    expect(granted.taken).to.equal(true);
    for (const answer of [renewed, released, verdict, inspected]) {
      expect(answer).to.be.instanceOf(Error);
      expect(String(answer)).to.match(/permission|can't run this command|NOPERM/);
    }
    limited.disconnect();
    await redis.call('ACL', 'DELUSER', user);
  });

  const unusable: Record<string, { make(): Promise<RedisClient>; message: RegExp }> = {
    'an ioredis client that was closed': {
      async make() {
        const client = connectRedis();
        await client.quit();
        return client;
      },
      message: /Connection is closed/,
    },
    'an ioredis client that is subscribed': {
      async make() {
        const client = connectRedis({ protocol: 2 } as object);
        await client.subscribe(uniqueName());
        return client;
      },
      message: /subscriber mode/,
    },
    'a node-redis client that was closed': {
      async make() {
        const client = await createClient({ url: redisUrl() }).connect();
        client.destroy();
        return client;
      },
      message: /client is closed/,
    },
    'a node-redis client that was never connected': {
      make: async () => createClient({ url: redisUrl() }),
      message: /client is closed/,
    },
    'a Valkey GLIDE client that was closed': {
      async make() {
        const client = await GlideClient.createClient({ addresses: [redisOptions()] });
        client.close();
        return client as RedisClient;
      },
      message: /closed/,
    },
  };
  for (const [what, { make, message }] of Object.entries(unusable)) {
    it(`fails with the error of ${what}: nothing is taken for held`, async () => {
      const client = await make();

      const error = await rejection(new Lock('k', { cache: new RedisCache(client) }).acquire());

      expect(error).to.include({ code: 'ERR_LOCK_CACHE' });
      expect(error.message).to.match(message);
      (client as Partial<Redis>).disconnect?.();
    });
  }

  it('refuses a client whose keys have a prefix, which would exclude no one else', () => {
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
    it(`refuses ${what} in the place of a client`, () => {
      expect(() => new RedisCache(client as never)).to.throw(
        TypeError,
        /needs a client that can run scripts: one of ioredis .* it got /,
      );
    });
  }
});
