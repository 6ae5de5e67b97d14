/** The locks are in a store of their own, which is down. For this team a letter that is sent twice is better than none. */

import { subscribe } from 'node:diagnostics_channel';
import { type Job, Queue, Worker } from 'bullmq';
import { type CacheErrorEvent, onceProcessor } from 'bullmq-once';

const connection = { url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' };
const queue = new Queue('letters', { connection });
await queue.obliterate({ force: true });

const down = () => {
  throw new Error('the store of the locks is down');
};
const guarded = onceProcessor(async (job: Job<{ to: string }>) => `sent to ${job.data.to}`, {
  key: 'letter-{to}',
  cache: { get: down, set: down, delete: down },
  onCacheError: 'run',
});
// There is one warning a minute on stderr. The channel has an event for every job.
process.removeAllListeners('warning');
subscribe('bullmq-once:cache-error', event => {
  const { jobId, error } = event as CacheErrorEvent;
  console.log(`job ${jobId} runs without a lock: ${error.message}`);
});
const worker = new Worker('letters', guarded, { connection });
worker.on('completed', (_job, result) => console.log(result));

await queue.add('letter', { to: 'alice' });
while ((await queue.getCompletedCount()) < 1) await new Promise(resolve => setTimeout(resolve, 50));

await worker.close();
await queue.close();
