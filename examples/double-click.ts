/**
 * A customer clicks twice on "Pay". Both requests wait for their job, and both get the same receipt. A third request names the same cart
 * with another total: it is no duplicate but a mistake, and fails.
 */

import { type Job, Queue, QueueEvents, Worker } from 'bullmq';
import { onceProcessor } from 'bullmq-once';

interface Payment {
  readonly cartId: string;
  readonly cents: number;
}

const connection = { url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' };
const queue = new Queue('checkout', { connection });
const events = new QueueEvents('checkout', { connection });
await Promise.all([queue.obliterate({ force: true }), events.waitUntilReady()]);

let receipts = 0;
async function pay(job: Job<Payment>): Promise<string> {
  await new Promise(resolve => setTimeout(resolve, 300));
  return `receipt ${++receipts}: ${job.data.cents} cents for cart ${job.data.cartId}`;
}

const guarded = onceProcessor(pay, {
  key: 'pay-{cartId}',
  match: '{cents}',
  whenLocked: 'share',
  dedupeFor: 10 * 60_000,
});
const worker = new Worker('checkout', guarded, { connection, concurrency: 10 });

/** What the server does for each request. */
async function onRequest(payment: Payment): Promise<string> {
  const job = await queue.add('pay', payment);
  return job.waitUntilFinished(events);
}

const clicks = [onRequest({ cartId: 'c1', cents: 1990 }), onRequest({ cartId: 'c1', cents: 1990 })];
for (const receipt of await Promise.all(clicks)) console.log(receipt);
await onRequest({ cartId: 'c1', cents: 990 }).catch(error =>
  console.log(error.message.replace(/\d+ s,/, '… s,')),
);

await worker.close();
await Promise.all([queue.close(), events.close()]);
