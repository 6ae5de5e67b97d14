/** A duplicate answers with where the work is being done: what the function returns is the job's result. */

import { type Job, Queue, Worker } from 'bullmq';
import { onceProcessor } from 'bullmq-once';

const connection = { url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' };
const queue = new Queue('reports-asked-for', { connection });
await queue.obliterate({ force: true });

async function build(job: Job<{ report: string }>): Promise<string> {
  await new Promise(resolve => setTimeout(resolve, 300));
  return `${job.data.report} is ready`;
}

const guarded = onceProcessor(build, {
  key: 'report-{report}',
  whenLocked: (job, holder) =>
    `${job.data.report} is under way for ${Date.now() - holder.since < 60_000 ? 'less' : 'more'} than a minute`,
});
const worker = new Worker('reports-asked-for', guarded, { connection, concurrency: 10 });
worker.on('completed', (_job, result) => console.log(result));

await queue.addBulk([1, 2].map(() => ({ name: 'build', data: { report: 'sales' } })));
while ((await queue.getCompletedCount()) < 2) await new Promise(resolve => setTimeout(resolve, 50));

await worker.close();
await queue.close();
