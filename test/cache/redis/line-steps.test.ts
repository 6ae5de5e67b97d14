/** Steps on lines that go to Redis in one call: each has its own answer. */

import { expect } from 'chai';
import { RedisCache } from '../../../src/cache/redis/redis-cache.ts';
import { connectRedis } from '../../support/index.ts';
import { RedisServer } from '../../support/redis-server.ts';
import { acquireStep, enterStep } from '../../support/steps.ts';

describe('A call of several steps on lines', () => {
  let server: RedisServer;
  let redis: ReturnType<typeof connectRedis>;
  let cache: RedisCache;
  before(async () => {
    server = await RedisServer.start();
    redis = connectRedis({ port: server.port });
    cache = new RedisCache(redis);
  });
  after(async () => {
    redis.disconnect();
    await server.stop();
  });

  it('answers those that need no memory, where Redis has none for the others', async () => {
    const holder = enterStep({ line: 'all', owner: 'a' });
    const { storedKey } = holder;
    const parked = enterStep({ storedKey, line: 'all', owner: 'b' });
    await cache.enter([holder, parked]);
    await redis.config('SET', 'maxmemory', '1');

    const answers = await cache.enter([
      { ...parked, token: acquireStep().token },
      enterStep({ storedKey, line: 'all', owner: 'c' }),
      enterStep({ line: 'all' }),
    ]);

    const [first, ...others] = answers;
    expect(first).to.deep.include({
      acquired: false,
      standing: { is: 'in-line', ahead: 0, outdone: undefined },
    });
    for (const other of others) expect(other).to.be.an('error').with.property('message').that.matches(/^OOM/);
  });
});
