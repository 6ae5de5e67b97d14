/**
 * A crawler may send three requests to one host at a time, and as many as its workers can to all hosts together. Downloads that
 * find the three places of their host taken are parked, and start in their order.
 */

import { type Job, Queue, Worker } from 'bullmq';
import { onceProcessor } from 'bullmq-once';

const connection = { url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' };
const queue = new Queue('crawl', { connection });
await queue.obliterate({ force: true });

const running = new Map<string, number>();
const most = new Map<string, number>();

async function download(job: Job<{ url: string }>): Promise<void> {
  const { host } = new URL(job.data.url);
  const now = (running.get(host) ?? 0) + 1;
  running.set(host, now);
  most.set(host, Math.max(most.get(host) ?? 0, now));
  await new Promise(resolve => setTimeout(resolve, 200));
  running.set(host, (running.get(host) ?? 0) - 1);
}

const guarded = onceProcessor(download, {
  key: job => `host-${new URL(job.data.url).host}`,
  concurrency: 3,
  whenLocked: 'in-order',
});
// The three places hold for all workers of the queue together.
const workers = [1, 2].map(() => new Worker('crawl', guarded, { connection, concurrency: 10 }));

const urls = [
  ...Array.from({ length: 9 }, (_, i) => `https://example.org/${i}`),
  ...Array.from({ length: 4 }, (_, i) => `https://example.com/${i}`),
];
await queue.addBulk(urls.map(url => ({ name: 'download', data: { url } })));
while ((await queue.getCompletedCount()) < urls.length) {
  await new Promise(resolve => setTimeout(resolve, 50));
}

await Promise.all(workers.map(worker => worker.close()));
await queue.close();
for (const host of ['example.org', 'example.com']) console.log(`${host}: at most ${most.get(host)} at once`);
