/** A webhook with Express: the provider delivers an event twice, and it is booked once. */

import { type Job, Queue, Worker } from 'bullmq';
import { onceProcessor } from 'bullmq-once';
import express from 'express';

const connection = { url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' };
const port = Number(process.env.WEBHOOK_PORT ?? 3000);
const queue = new Queue('webhook', { connection });

async function book({ data }: Job<{ eventId: string }>): Promise<string> {
  await new Promise(resolve => setTimeout(resolve, 300));
  console.log(`booked ${data.eventId}`);
  return 'booked';
}

// While the first delivery runs, the second fails and is retried. When the first has succeeded, the second completes.
const guarded = onceProcessor(book, {
  key: 'event-{eventId}',
  raiseIfLock: true,
  dedupeFor: 24 * 60 * 60_000,
});
const worker = new Worker('webhook', guarded, { connection, concurrency: 10 });

const app = express();
app.post('/webhook', express.json(), async (request, response) => {
  const retries = { attempts: 10, backoff: { type: 'exponential', delay: 200 } };
  await queue.add('event', { eventId: request.body.id }, retries);
  response.sendStatus(202);
});
const server = app.listen(port);

// The provider is not sure that the first delivery has arrived.
const body = JSON.stringify({ id: `evt_${Date.now()}` });
const headers = { 'content-type': 'application/json' };
for (let delivery = 1; delivery <= 2; delivery++) {
  const { status } = await fetch(`http://127.0.0.1:${port}/webhook`, { method: 'POST', headers, body });
  console.log(`delivery ${delivery}: ${status}`);
}

while ((await queue.getJobCountByTypes('wait', 'active', 'delayed')) > 0) {
  await new Promise(resolve => setTimeout(resolve, 100));
}
console.log(`failed: ${await queue.getFailedCount()}`);
server.close();
await worker.close();
await queue.close();
