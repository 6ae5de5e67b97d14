/**
 * An editor saves a text every time that it changes. While one version is being written, only the last of those that came since
 * matters: it is parked, and runs as soon as the first is done. Those in between are skipped.
 */

import { type Job, Queue, Worker } from 'bullmq';
import { onceProcessor } from 'bullmq-once';

const connection = { url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' };
const queue = new Queue('autosave', { connection });
await queue.obliterate({ force: true });

const saved: number[] = [];
let isSaving = false;

async function save(job: Job<{ document: string; version: number }>): Promise<void> {
  isSaving = true;
  await new Promise(resolve => setTimeout(resolve, 300));
  saved.push(job.data.version);
}

const guarded = onceProcessor(save, { key: 'save-{document}', whenLocked: 'keep-last' });
const worker = new Worker('autosave', guarded, { connection, concurrency: 10 });

for (let version = 1; version <= 5; version++) {
  await queue.add('save', { document: 'readme', version });
  // The others come while the first is being written.
  while (!isSaving) await new Promise(resolve => setTimeout(resolve, 10));
}
while ((await queue.getCompletedCount()) < 5) await new Promise(resolve => setTimeout(resolve, 50));

await worker.close();
await queue.close();
console.log(`saved versions ${saved.join(' and ')}`);
