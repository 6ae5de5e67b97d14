/**
 * BullMQ's own deduplication keeps a queue from filling with jobs that it has already. The guard keeps two jobs of a key from
 * running at once, however they came: from a producer that does not know the id, by a retry, from a stalled worker.
 */

import { type Job, Queue, Worker } from 'bullmq';
import { onceProcessor } from 'bullmq-once';

const connection = { url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' };
const queue = new Queue('thumbnails-of-films', { connection });
await queue.obliterate({ force: true });

let ran = 0;

async function makeThumbnail(_job: Job<{ film: number }>): Promise<void> {
  ran++;
  await new Promise(resolve => setTimeout(resolve, 300));
}

const data = { film: 12 };
// A thousand requests while no worker runs: one job.
await Promise.all(
  Array.from({ length: 1000 }, () => queue.add('thumbnail', data, { deduplication: { id: 'film-12' } })),
);
console.log(`waiting: ${await queue.getWaitingCount()}`);
// A producer that does not know the id.
await queue.add('thumbnail', data);

const guarded = onceProcessor(makeThumbnail, { key: 'film-{film}' });
const worker = new Worker('thumbnails-of-films', guarded, { connection, concurrency: 10 });
while ((await queue.getCompletedCount()) < 2) await new Promise(resolve => setTimeout(resolve, 50));

await worker.close();
await queue.close();
console.log(`ran: ${ran}`);
