/** A duplicate completes with a result of its own: whatever the function returns. */

import { type Job, Queue, Worker } from 'bullmq';
import { onceProcessor } from 'bullmq-once';

const connection = { url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' };
const queue = new Queue('sales-reports', { connection });
await queue.obliterate({ force: true });

async function build(job: Job<{ report: string }>): Promise<string> {
  await new Promise(resolve => setTimeout(resolve, 300));
  return `${job.data.report} is ready`;
}

const guarded = onceProcessor(build, {
  key: 'report-{report}',
  whenLocked: (job, holder) => `${job.data.report} is being built by job ${holder.jobId}`,
});
const worker = new Worker('sales-reports', guarded, { connection, concurrency: 10 });
worker.on('completed', (_job, result) => console.log(result));

const data = { report: 'sales' };
await queue.addBulk(['first', 'second'].map(jobId => ({ name: 'build', data, opts: { jobId } })));
while ((await queue.getCompletedCount()) < 2) await new Promise(resolve => setTimeout(resolve, 50));

await worker.close();
await queue.close();
