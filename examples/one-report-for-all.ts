/** Five people ask for the same report. It is built once, and each of them gets it. */

import { setTimeout as delay } from 'node:timers/promises';
import { type Job, Queue, QueueEvents, Worker } from 'bullmq';
import { onceProcessor } from 'bullmq-once';

const connection = { url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' };
const queue = new Queue('monthly-reports', { connection });
const events = new QueueEvents('monthly-reports', { connection });
await queue.obliterate({ force: true });

let built = 0;
async function buildReport(job: Job<{ month: string }>): Promise<{ month: string; total: number }> {
  built++;
  await delay(500);
  return { month: job.data.month, total: 1234.5 };
}
const guarded = onceProcessor(buildReport, { key: 'report-{month}', whenLocked: 'share' });
const worker = new Worker('monthly-reports', guarded, { connection, concurrency: 2 });
await events.waitUntilReady();

const jobs = await Promise.all(
  ['ann', 'ben', 'cem', 'dea', 'eli'].map(asks => queue.add('build', { month: '2026-11', asks })),
);
const reports = await Promise.all(jobs.map(job => job.waitUntilFinished(events)));
for (const report of reports) console.log(JSON.stringify(report));
console.log(`built ${built} time`);

await worker.close();
await Promise.all([queue.close(), events.close()]);
