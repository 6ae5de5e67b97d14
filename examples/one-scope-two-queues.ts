/** Nightly imports and requested imports are two queues. They must not import one shop at the same time, so they share a scope. */

import { type Job, Queue, Worker } from 'bullmq';
import { onceProcessor } from 'bullmq-once';

const connection = { url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' };
const names = ['nightly-imports', 'requested-imports'];

let running = 0;
let most = 0;

async function importShop(job: Job<{ shop: number }>): Promise<string> {
  most = Math.max(most, ++running);
  await new Promise(resolve => setTimeout(resolve, 300));
  running--;
  return `imported shop ${job.data.shop}`;
}

const guarded = onceProcessor(importShop, { key: 'shop-{shop}', scope: 'shops' });
const queues = names.map(name => new Queue(name, { connection }));
await Promise.all(queues.map(queue => queue.obliterate({ force: true })));
const workers = names.map(name => new Worker(name, guarded, { connection }));

let ended = 0;
for (const worker of workers) {
  worker.on('completed', (_job, result) => console.log(result ?? 'skipped', ++ended));
}
await Promise.all(queues.map(queue => queue.add('import', { shop: 3 })));
while (ended < 2) await new Promise(resolve => setTimeout(resolve, 50));

await Promise.all([...workers, ...queues].map(one => one.close()));
console.log(`at most ${most} at once`);
