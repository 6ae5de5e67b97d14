/** Holds many locks in one process. Argument: a JSON of { port, count, ttl }. Told 'release', it lets go of all and ends. */

import { Redis } from 'ioredis';
import { Lock, RedisCache } from '../../src/index.ts';
import { measure } from './measure.ts';

const { port, count, ttl } = JSON.parse(process.argv[2] as string);
const tell = (message: object) => process.send?.(message);
const unhandled: string[] = [];
process.on('unhandledRejection', reason => unhandled.push(String(reason)));

const redis = new Redis({ port, maxRetriesPerRequest: null });
const cache = new RedisCache(redis);
await new Lock('first', { cache }).run(() => {});
const before = await measure();

let locks = Array.from({ length: count }, (_, i) => new Lock(`k-${i}`, { cache, ttl }));
await Promise.all(locks.map(lock => lock.acquire()));
let lost = 0;
for (const lock of locks) lock.signal.addEventListener('abort', () => lost++);
tell({ event: 'held', unhandled, ...(await measure()) });

process.once('message', async () => {
  const released = (await Promise.all(locks.map(lock => lock.release()))).filter(Boolean).length;
  locks = [];
  const after = await measure();
  tell({ event: 'released', before, after, lost, released, unhandled });
  redis.disconnect();
  process.disconnect();
});
