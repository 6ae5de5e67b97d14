/** Holds many locks in one process. Argument: a JSON of { port, count, ttl }. At the message 'release' it releases all and ends. */

import { Redis } from 'ioredis';
import { Lock, RedisCache } from '../../src/index.ts';
import { measure } from './measure.ts';

const { port, count, ttl } = JSON.parse(process.argv[2] as string);
const report = (message: object) => process.send?.(message);
const unhandled: string[] = [];
process.on('unhandledRejection', reason => unhandled.push(String(reason)));

const redis = new Redis({ port, maxRetriesPerRequest: null });
const cache = new RedisCache(redis);
await new Lock('first', { cache }).run(() => {});
const before = await measure();

let handles = await Promise.all(
  Array.from({ length: count }, (_, i) => new Lock(`k-${i}`, { cache, ttl }).acquire()),
);
let lost = 0;
for (const { signal } of handles) signal.addEventListener('abort', () => lost++);
report({ event: 'held', unhandled, ...(await measure()) });

process.once('message', async () => {
  const answers = await Promise.all(handles.map(handle => handle.release()));
  const released = answers.filter(Boolean).length;
  handles = [];
  const after = await measure();
  report({ event: 'released', before, after, lost, released, unhandled });
  redis.disconnect();
  process.disconnect();
});
