/** A team tries a guard in production: all jobs run, and the jobs that would be skipped are counted. */

import { type Job, Queue, Worker } from 'bullmq';
import { type LockEvent, onceProcessor } from 'bullmq-once';

const connection = { url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' };
const queue = new Queue('statements', { connection });
await queue.obliterate({ force: true });

const wouldBeSkipped: string[] = [];
const processor = onceProcessor(
  async (job: Job<{ account: string }>) => {
    await new Promise(resolve => setTimeout(resolve, 300));
    return `statement for ${job.data.account}`;
  },
  {
    key: 'statement-{account}',
    mode: 'observe',
    onEvent: (event: LockEvent) => {
      if (event.type === 'skipped') wouldBeSkipped.push(event.key);
    },
  },
);
const worker = new Worker('statements', processor, { connection, concurrency: 10 });

await queue.addBulk(['ann', 'ann', 'bob'].map(account => ({ name: 'send', data: { account } })));
while ((await queue.getCompletedCount()) < 3) await new Promise(resolve => setTimeout(resolve, 50));
console.log(`ran: ${await queue.getCompletedCount()}, would be skipped: ${wouldBeSkipped.join(', ')}`);

await worker.close();
await queue.close();
