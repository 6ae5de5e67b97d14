/**
 * An import fails half-way and is retried. It keeps its key until its retry, so that no other import starts from what it has
 * left behind.
 */

import { type Job, Queue, Worker } from 'bullmq';
import { onceProcessor } from 'bullmq-once';

const connection = { url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' };
const queue = new Queue('shop-imports', { connection });
await queue.obliterate({ force: true });

async function importAll(job: Job<{ shop: number }>): Promise<string> {
  console.log(`${job.id} starts`);
  if (job.attemptsMade === 0) throw new Error('the connection broke half-way');
  return 'imported';
}

const guarded = onceProcessor(importAll, { key: 'shop-{shop}', holdThroughRetries: true });
const worker = new Worker('shop-imports', guarded, { connection, concurrency: 10 });
worker.on('completed', (job, result) => console.log(`${job.id}: ${result ?? 'skipped'}`));

const data = { shop: 3 };
await queue.add('import', data, { jobId: 'first', attempts: 2, backoff: 500 });
while ((await queue.getDelayedCount()) === 0) await new Promise(resolve => setTimeout(resolve, 10));
await queue.add('import', data, { jobId: 'second' });
while ((await queue.getCompletedCount()) < 2) await new Promise(resolve => setTimeout(resolve, 50));

await worker.close();
await queue.close();
