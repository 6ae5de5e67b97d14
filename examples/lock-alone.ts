/** A lock without a queue: a nightly import that several machines try to start. */

import { Lock, LockError, once, RedisCache } from 'bullmq-once';
import { Redis } from 'ioredis';

const redis = new Redis(process.env.REDIS_URL ?? 'redis://127.0.0.1:6379');
const cache = new RedisCache(redis);

async function importOn(machine: string): Promise<void> {
  const lock = new Lock('nightly-import', { cache });
  try {
    await lock.run(async ({ signal, fence }) => {
      console.log(`${machine} imports under fence ${fence > 0 ? 'n' : '?'}`);
      await new Promise(resolve => setTimeout(resolve, 200));
      // Before each step that must not be done twice: has the lock been lost meanwhile?
      signal.throwIfAborted();
    });
  } catch (error) {
    if (!(error instanceof LockError)) throw error;
    console.log(`${machine} leaves it: ${error.holder.state} elsewhere`);
  }
}

await Promise.all([importOn('one'), importOn('two')]);

// Waiting for a turn, and letting go at the end of the block.
{
  await using lock = await new Lock('nightly-import', { cache }).acquire({ waitFor: 1000 });
  console.log(`took ${lock.key} in turn`);
}

// The same for a function.
const refresh = once(async (feed: { url: string }) => `refreshed ${feed.url}`, { key: 'feed-{url}', cache });
const feed = { url: 'https://example.org/rss' };
console.log(
  (await Promise.all([refresh(feed), refresh(feed)])).map(result => result ?? 'skipped').join(', '),
);

redis.disconnect();
