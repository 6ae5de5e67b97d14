import { expect } from 'chai';
import { RedisCache } from '../../../src/index.ts';
import { connectRedis, uniqueName } from '../../support/index.ts';

describe('the list of a RedisCache', () => {
  it('finds a lock by any beginning of its name, also one that ends within what all locks have in their names', async () => {
    const redis = connectRedis();
    const cache = new RedisCache(redis);
    const queue = uniqueName('queue');
    const storedKey = `${queue}::once:1:o:k`;
    await cache.acquire([{ storedKey, token: 't', owner: 'o', attempt: 0, ttl: 60_000 }]);
    await redis.set(`${queue}:once:1:o:k`, 'no lock', 'EX', 60);

    for (let length = queue.length; length <= storedKey.length; length++) {
      const listed: string[] = [];
      for await (const lock of cache.list(storedKey.slice(0, length))) listed.push(lock.storedKey);

      expect(listed).to.deep.equal([storedKey]);
    }
    redis.disconnect();
  });

  it('ends early where its signal says that nobody wants the rest', async () => {
    const redis = connectRedis();
    const listed: string[] = [];

    for await (const lock of new RedisCache(redis).list('', AbortSignal.abort())) listed.push(lock.storedKey);
    redis.disconnect();

    expect(listed).to.deep.equal([]);
  });
});
