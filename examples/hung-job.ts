/**
 * A job that hangs would hold its key for as long as its process lives. After `maxHold` its signal aborts, and its key is free a
 * `ttl` later.
 */

import { type Job, Queue, Worker } from 'bullmq';
import { onceProcessor } from 'bullmq-once';

const connection = { url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' };
const queue = new Queue('downloads', { connection });
await queue.obliterate({ force: true });

async function download(
  job: Job<{ url: string; hangs: boolean }>,
  _token: unknown,
  signal?: AbortSignal,
): Promise<string> {
  if (!job.data.hangs) return 'downloaded';
  return new Promise((_resolve, reject) => signal?.addEventListener('abort', () => reject(signal.reason)));
}

const guarded = onceProcessor(download, {
  key: 'download-{url}',
  ttl: 1000,
  maxHold: 1000,
  whenLocked: { delay: 'holder' },
});
const worker = new Worker('downloads', guarded, { connection, concurrency: 10, lockDuration: 2000 });
worker.on('failed', (_job, error) => console.log(error.message));
worker.on('completed', (_job, result) => console.log(result));

const url = 'https://example.org/big';
await queue.add('download', { url, hangs: true }, { removeOnFail: true });
while ((await queue.getActiveCount()) === 0) await new Promise(resolve => setTimeout(resolve, 10));
await queue.add('download', { url, hangs: false });
while ((await queue.getCompletedCount()) < 1) await new Promise(resolve => setTimeout(resolve, 50));

await worker.close();
await queue.close();
