/**
 * A user types, and each letter starts a search. The search for the older text is of no use any more: its signal aborts, it stops, and
 * the search for the newer text runs. Two searches of one user never run at once.
 */

import { setTimeout as delay } from 'node:timers/promises';
import { type Job, Queue, Worker } from 'bullmq';
import { onceProcessor } from 'bullmq-once';

const connection = { url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' };
const queue = new Queue('searches', { connection });
await queue.obliterate({ force: true });

const started: string[] = [];

async function search(
  job: Job<{ user: string; text: string }>,
  _token: string | undefined,
  signal: AbortSignal | undefined,
): Promise<string> {
  const { text } = job.data;
  started.push(text);
  try {
    // Stands for a request that takes the signal: fetch(url, { signal }).
    await delay(text === 'cats' ? 100 : 30_000, undefined, { signal });
    return `${text}: found`;
  } catch (error) {
    // A job that throws fails, and is retried if it has attempts left. This one is just not needed any more.
    if (signal?.aborted) return `${text}: stopped`;
    throw error;
  }
}

const guarded = onceProcessor(search, { key: 'search-{user}', whenLocked: 'replace' });
const worker = new Worker('searches', guarded, { connection, concurrency: 10 });
worker.on('completed', (_job, result) => console.log(result));

for (const text of ['c', 'ca', 'cat', 'cats']) {
  await queue.add('search', { user: 'ann', text });
  while (!started.includes(text)) await delay(10);
}
while ((await queue.getCompletedCount()) < 4) await delay(50);

await worker.close();
await queue.close();
