/** A queue on PostgreSQL, from the connection to the worker: its locks are kept in the same database. */

import { createPostgresBackend, type Job, withBackend } from 'bullmq';
import { onceProcessor } from 'bullmq-once';

const { Queue, Worker } = withBackend(createPostgresBackend);
// BullMQ creates its tables in the schema bullmq. The table of the locks is created with the first one.
const connection = {
  connectionString: process.env.DATABASE_URL ?? 'postgres://postgres@127.0.0.1/postgres',
  migrate: true,
};

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
