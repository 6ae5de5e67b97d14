/**
 * A document is saved five times while its search index is being written. Only the last save matters: it is parked, and runs
 * as soon as the first is done. Those in between are skipped.
 */

import { type Job, Queue, Worker } from 'bullmq';
import { onceProcessor } from 'bullmq-once';

const connection = { url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' };
const queue = new Queue('search-index', { connection });
await queue.obliterate({ force: true });

const indexed: number[] = [];
let isIndexing = false;

async function index(job: Job<{ document: string; version: number }>): Promise<void> {
  isIndexing = true;
  await new Promise(resolve => setTimeout(resolve, 300));
  indexed.push(job.data.version);
}

const guarded = onceProcessor(index, { key: 'index-{document}', whenLocked: 'keep-last' });
const worker = new Worker('search-index', guarded, { connection, concurrency: 10 });

for (let version = 1; version <= 5; version++) {
  await queue.add('save', { document: 'readme', version });
  // The others are saved while the first is being indexed.
  while (!isIndexing) await new Promise(resolve => setTimeout(resolve, 10));
}
while ((await queue.getCompletedCount()) < 5) await new Promise(resolve => setTimeout(resolve, 50));

await worker.close();
await queue.close();
console.log(`indexed versions ${indexed.join(' and ')}`);
