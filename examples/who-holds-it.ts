/** An operator asks who holds a lock and for how long, and releases it by force. The signal of the job that held it aborts. */

import { type Job, Queue, Worker } from 'bullmq';
import { locksOf, onceProcessor } from 'bullmq-once';

const connection = { url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' };
const queue = new Queue('imports', { connection });
await queue.obliterate({ force: true });

const importFeed = onceProcessor(
  async (job: Job<{ feed: string }>, _token, signal) => {
    await new Promise(resolve => signal?.addEventListener('abort', resolve));
    console.log(`job ${job.id}: ${signal?.reason.message}`);
  },
  { key: 'feed-{feed}', logToJob: true },
);
const worker = new Worker('imports', importFeed, { connection, concurrency: 2, lockDuration: 1000 });

await queue.add('import', { feed: 'prices' });
const duplicate = await queue.add('import', { feed: 'prices' });
while ((await queue.getCompletedCount()) < 1) await new Promise(resolve => setTimeout(resolve, 50));
const { logs } = await queue.getJobLogs(duplicate.id as string);
console.log(logs[0]);

const locks = locksOf(queue);
for await (const { key, jobId, state } of locks.list()) console.log(`${key}: job ${jobId}, ${state}`);
await locks.forceRelease('feed-prices');
while ((await queue.getCompletedCount()) < 2) await new Promise(resolve => setTimeout(resolve, 50));

await worker.close();
await queue.close();
