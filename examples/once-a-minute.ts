/** A user gets one alert a minute at most, however many events call for one. Users do not hold each other up. */

import { type Job, Queue, Worker } from 'bullmq';
import { onceProcessor } from 'bullmq-once';

const connection = { url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' };
const queue = new Queue('alerts', { connection });
await queue.obliterate({ force: true });

const counts = { sent: 0, skipped: 0 };
async function alertUser(job: Job<{ userId: string; event: number }>): Promise<string> {
  console.log(`${job.data.userId} is told of event ${job.data.event}`);
  return 'sent';
}

const guarded = onceProcessor(alertUser, { key: 'alert-{userId}', dedupeFor: 60_000 });
const worker = new Worker('alerts', guarded, { connection });
worker.on('completed', (_job, result) => counts[result ? 'sent' : 'skipped']++);

for (const event of [1, 2, 3]) {
  await queue.addBulk(['ann', 'ben'].map(userId => ({ name: 'alert', data: { userId, event } })));
}
while (counts.sent + counts.skipped < 6) await new Promise(resolve => setTimeout(resolve, 20));

await worker.close();
await queue.close();
console.log(`sent ${counts.sent}, skipped ${counts.skipped}`);
