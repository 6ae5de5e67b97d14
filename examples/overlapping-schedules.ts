/** A schedule fires faster than its job runs. The runs that would overlap are skipped, and the schedule goes on. */

import { Queue, Worker } from 'bullmq';
import { onceProcessor } from 'bullmq-once';

const connection = { url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' };
const queue = new Queue('reports', { connection });
await queue.obliterate({ force: true });

let running = 0;
let most = 0;
const counts = { ran: 0, skipped: 0 };

async function buildReport(): Promise<string> {
  running++;
  most = Math.max(most, running);
  await new Promise(resolve => setTimeout(resolve, 500));
  running--;
  return 'built';
}

// One schedule, one key: the template needs no placeholder.
const guarded = onceProcessor(buildReport, { key: 'report' });
const worker = new Worker('reports', guarded, { connection, concurrency: 5 });
worker.on('completed', (_job, result) => counts[result ? 'ran' : 'skipped']++);

await queue.upsertJobScheduler('every-200-ms', { every: 200 }, { name: 'report' });
await new Promise(resolve => setTimeout(resolve, 2000));

await queue.removeJobScheduler('every-200-ms');
await worker.close();
await queue.close();
console.log(`ran ${counts.ran}, skipped ${counts.skipped}, at most ${most} at once`);
