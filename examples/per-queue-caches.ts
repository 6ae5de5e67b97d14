/** Each queue can keep its locks in another place: here in this process, in another Redis, and where its jobs are. */

import { Queue, Worker } from 'bullmq';
import { caches, MemoryCache, onceProcessor, RedisCache } from 'bullmq-once';
import { Redis } from 'ioredis';

const url = process.env.REDIS_URL ?? 'redis://127.0.0.1:6379';
const locks = new Redis(`${url}/1`);

caches.set('thumbnails', new MemoryCache());
caches.set('invoices', new RedisCache(locks));

async function work(): Promise<string> {
  await new Promise(resolve => setTimeout(resolve, 300));
  return 'worked';
}

for (const name of ['thumbnails', 'invoices', 'reminders']) {
  const queue = new Queue(name, { connection: { url } });
  await queue.obliterate({ force: true });
  const worker = new Worker(name, onceProcessor(work, { key: 'k-{id}' }), {
    connection: { url },
    concurrency: 4,
  });
  const results: unknown[] = [];
  worker.on('completed', (_job, result) => results.push(result ?? 'skipped'));

  await queue.addBulk([1, 1, 2].map(id => ({ name: 'job', data: { id } })));
  while ((await queue.getJobCountByTypes('wait', 'active', 'delayed')) > 0) {
    await new Promise(resolve => setTimeout(resolve, 100));
  }

  await worker.close();
  await queue.close();
  console.log(`${name}: ${results.sort().join(', ')}`);
}
locks.disconnect();
