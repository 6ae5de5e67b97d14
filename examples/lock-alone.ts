/** A lock without a queue: a nightly import that several machines try to start. */

import { Lock, LockError, once, RedisCache } from 'bullmq-once';
import { Redis } from 'ioredis';

const redis = new Redis(process.env.REDIS_URL ?? 'redis://127.0.0.1:6379');
const cache = new RedisCache(redis);

// Any number of callers may share one lock.
const lock = new Lock('nightly-import', { cache });

async function importOn(machine: string): Promise<void> {
  try {
    await lock.run(async handle => {
      console.log(`${machine} imports under fence ${handle.fence > 0 ? 'n' : '?'}`);
      await new Promise(resolve => setTimeout(resolve, 200));
      // Before each step that must not run twice.
      handle.throwIfLost();
    });
  } catch (error) {
    if (!(error instanceof LockError)) throw error;
    console.log(`${machine} does nothing: the import is ${error.holder.state} elsewhere`);
  }
}

await Promise.all([importOn('one'), importOn('two')]);

// Waits for its turn, and releases the lock at the end of the block.
{
  await using handle = await lock.acquire({ waitFor: 1000 });
  console.log(`acquired ${handle.key} in its turn`);
}

// A function that runs once at a time for each key.
const refresh = once(async (feed: { url: string }) => `refreshed ${feed.url}`, { key: 'feed-{url}', cache });
const feed = { url: 'https://example.org/rss' };
console.log(
  (await Promise.all([refresh(feed), refresh(feed)])).map(result => result ?? 'skipped').join(', '),
);

redis.disconnect();
