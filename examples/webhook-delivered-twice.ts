/**
 * A payment provider delivers a webhook twice, and the first run of the work fails. The second delivery must not be dropped while the
 * first may still fail, so it raises, and BullMQ retries it. `dedupeFor` keeps the key held as done when the work has succeeded: from
 * then on a delivery completes. The payment is booked once, and nothing is left in the failed set. A delivery of the same payment with
 * another amount would fail at once (`match`).
 */

import { type Job, Queue, Worker } from 'bullmq';
import { onceProcessor } from 'bullmq-once';

interface Payment {
  readonly paymentId: string;
  readonly cents: number;
}

const connection = { url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' };
const queue = new Queue('payments', { connection });
await queue.obliterate({ force: true });

const booked: string[] = [];
let runs = 0;

async function book(job: Job<Payment>): Promise<string> {
  await new Promise(resolve => setTimeout(resolve, 300));
  if (++runs === 1) throw new Error('the bank does not answer');
  booked.push(job.data.paymentId);
  return `booked ${job.data.cents} cents`;
}

// raiseIfLock needs attempts and a backoff: without them the duplicate fails within milliseconds.
const guarded = onceProcessor(book, {
  key: 'payment-{paymentId}',
  match: '{cents}',
  raiseIfLock: true,
  dedupeFor: 60_000,
});
const worker = new Worker('payments', guarded, { connection, concurrency: 10 });
worker.on('failed', (job, error) => console.log(`delivery ${job?.id} is retried: ${error.message}`));

const data = { paymentId: 'pay_1', cents: 4200 };
const opts = { attempts: 10, backoff: { type: 'fixed', delay: 200 } };
await queue.addBulk(['first', 'second'].map(jobId => ({ name: 'paid', data, opts: { ...opts, jobId } })));

while ((await queue.getJobCountByTypes('wait', 'active', 'delayed')) > 0) {
  await new Promise(resolve => setTimeout(resolve, 100));
}
const { completed, failed } = await queue.getJobCounts('completed', 'failed');
await worker.close();
await queue.close();
console.log(`booked ${booked.length} time: ${booked}; ${completed} deliveries completed, ${failed} failed`);
