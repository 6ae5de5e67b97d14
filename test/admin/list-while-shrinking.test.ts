/** Redis names a key more than once while its table changes its size. A list names each lock once, and misses none that stays. */

import { expect } from 'chai';
import { Redis } from 'ioredis';
import { Lock, locksOf, RedisCache } from '../../src/index.ts';
import { RedisServer } from '../support/redis-server.ts';

const LOCKS = 300;
const OTHERS = 60_000;

describe('The list of locks', () => {
  it('names each lock once, and misses none, while the table of a Redis shrinks and grows', async () => {
    const server = await RedisServer.start();
    const redis = new Redis({ host: '127.0.0.1', port: server.port });
    const cache = new RedisCache(redis);
    const handles = await Promise.all(
      Array.from({ length: LOCKS }, (_, i) => new Lock(`k${i}`, { cache, ttl: 60_000 }).acquire()),
    );
    const expected = handles.map(({ key }) => key).sort();
    const fill = () => redis.eval("for i = 1, ARGV[1] do redis.call('SET', 'x' .. i, '') end", 0, OTHERS);
    // Redis makes its table smaller step by step, with the commands that come.
    const empty = () => redis.eval("for i = 1, ARGV[1] do redis.call('DEL', 'x' .. i) end", 0, OTHERS);

    const wrong: unknown[] = [];
    for (let round = 0; round < 5; round++) {
      await fill();
      const listed: string[] = [];
      let seen = 0;
      for await (const { key } of locksOf(cache).list()) {
        listed.push(key);
        if (++seen === 20) await empty();
      }
      const isRight = listed.length === LOCKS && new Set(listed).size === LOCKS;
      if (!isRight) wrong.push({ round, listed: listed.length, distinct: new Set(listed).size });
      if (round === 0) expect(listed.sort()).to.deep.equal(expected);
    }

    expect(wrong).to.deep.equal([]);
    redis.disconnect();
    await server.stop();
  });
});
