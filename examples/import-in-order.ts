/**
 * The files of a tenant must be imported one after another, in the order in which they were added. Those of different tenants may be
 * imported at the same time. A file that has to wait is parked: it holds no slot of the worker, and does not poll.
 */

import { type Job, Queue, Worker } from 'bullmq';
import { onceProcessor } from 'bullmq-once';

const connection = { url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' };
const queue = new Queue('tenant-imports', { connection });
await queue.obliterate({ force: true });

const imported = new Map<string, number[]>([
  ['acme', []],
  ['globex', []],
]);
let running = 0;
let most = 0;

async function importFile(job: Job<{ tenant: string; file: number }>): Promise<void> {
  const { tenant, file } = job.data;
  running++;
  most = Math.max(most, running);
  // The first files take longest.
  await new Promise(resolve => setTimeout(resolve, 250 - 50 * file));
  imported.get(tenant)?.push(file);
  running--;
}

const guarded = onceProcessor(importFile, { key: 'import-{tenant}', whenLocked: 'in-order' });
const worker = new Worker('tenant-imports', guarded, { connection, concurrency: 10 });

for (let file = 1; file <= 4; file++) {
  const jobs = [...imported.keys()].map(tenant => ({ name: 'import', data: { tenant, file } }));
  await queue.addBulk(jobs);
}
while ((await queue.getCompletedCount()) < 8) await new Promise(resolve => setTimeout(resolve, 50));

await worker.close();
await queue.close();
for (const [tenant, files] of imported) console.log(`${tenant}: files ${files.join(', ')}`);
console.log(`at most ${most} at once`);
