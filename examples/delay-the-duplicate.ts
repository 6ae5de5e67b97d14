/**
 * A customer asks for an export again while the first is being made. Both must be made, but not at the same time: the second is
 * delayed, which costs none of its attempts.
 */

import { type Job, Queue, Worker } from 'bullmq';
import { onceProcessor } from 'bullmq-once';

const connection = { url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' };
const queue = new Queue('exports', { connection });
await queue.obliterate({ force: true });

async function makeExport(job: Job<{ customer: number }>): Promise<string> {
  await new Promise(resolve => setTimeout(resolve, 400));
  return `export ${job.id}, failed ${job.attemptsMade} times before`;
}

// By 200 to 250 ms, ten times at most; then it fails with a LockError. `delay: 'holder'` delays it until the holder's lease would
// end.
const guarded = onceProcessor(makeExport, {
  key: 'export-{customer}',
  whenLocked: { delay: 200, limit: 10 },
});
const worker = new Worker('exports', guarded, { connection, concurrency: 10 });
worker.on('completed', (_job, result) => console.log(result));

const data = { customer: 7 };
await queue.addBulk(['first', 'second'].map(jobId => ({ name: 'export', data, opts: { jobId } })));
while ((await queue.getCompletedCount()) < 2) await new Promise(resolve => setTimeout(resolve, 50));

await worker.close();
await queue.close();
