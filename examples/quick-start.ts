/** A job is added twice, and runs once at a time: the second finds its key held, and is skipped. */

import { type Job, Queue, Worker } from 'bullmq';
import { onceProcessor } from 'bullmq-once';

const connection = { url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' };

async function sendWelcome(job: Job<{ userId: number }>): Promise<string> {
  await new Promise(resolve => setTimeout(resolve, 500));
  return `welcome, user ${job.data.userId}`;
}

const guarded = onceProcessor(sendWelcome, { key: 'welcome-{userId}' });
const worker = new Worker('emails', guarded, { connection, concurrency: 10 });
worker.on('completed', (job, result) => console.log(job.id, result ?? 'skipped: its key is held'));

const queue = new Queue('emails', { connection });
await queue.addBulk([42, 42, 7].map(userId => ({ name: 'welcome', data: { userId } })));

while ((await queue.getJobCountByTypes('wait', 'active', 'delayed')) > 0) {
  await new Promise(resolve => setTimeout(resolve, 100));
}
await worker.close();
await queue.close();
