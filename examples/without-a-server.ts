/** The quick start with nothing to install: BullMQ 6 and its locks on a PostgreSQL in this process. */

import { createPostgresBackend, type Job, withBackend } from 'bullmq';
import { onceProcessor } from 'bullmq-once';
import { startEmbedded } from './embedded/postgres.ts';

const { Queue, Worker } = withBackend(createPostgresBackend);
const embedded = await startEmbedded();
const connection = { connectionString: embedded.url };

async function sendWelcome(job: Job<{ userId: number }>): Promise<string> {
  await new Promise(resolve => setTimeout(resolve, 500));
  return `welcome, user ${job.data.userId}`;
}

const queue = new Queue('emails', { connection });
await queue.addBulk([42, 42, 7].map(userId => ({ name: 'welcome', data: { userId } })));

const guarded = onceProcessor(sendWelcome, { key: 'welcome-{userId}' });
const worker = new Worker('emails', guarded, { connection, concurrency: 10 });
worker.on('completed', (job, result) => console.log(job.id, result ?? 'skipped: its key is held'));

while ((await queue.getJobCountByTypes('wait', 'active', 'delayed')) > 0) {
  await new Promise(resolve => setTimeout(resolve, 100));
}
await worker.close();
await queue.close();
await embedded.stop();
