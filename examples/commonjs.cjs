/** The quick start in CommonJS. */

const { Queue, Worker } = require('bullmq');
const { onceProcessor } = require('bullmq-once');

const connection = { url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' };

async function sendWelcome(job) {
  await new Promise(resolve => setTimeout(resolve, 500));
  return `welcome, user ${job.data.userId}`;
}

async function main() {
  const guarded = onceProcessor(sendWelcome, { key: 'welcome-{userId}' });
  const worker = new Worker('emails-commonjs', guarded, { connection, concurrency: 10 });
  worker.on('completed', (job, result) => console.log(job.id, result ?? 'skipped: its key is held'));

  const queue = new Queue('emails-commonjs', { connection });
  await queue.addBulk([42, 42, 7].map(userId => ({ name: 'welcome', data: { userId } })));

  while ((await queue.getJobCountByTypes('wait', 'active', 'delayed')) > 0) {
    await new Promise(resolve => setTimeout(resolve, 100));
  }
  await worker.close();
  await queue.close();
}

void main();
