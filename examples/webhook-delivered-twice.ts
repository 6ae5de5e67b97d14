/**
 * A payment provider delivers a webhook twice. The second delivery must not be dropped while the first may still fail, so it
 * raises, and BullMQ retries it. By then the first has succeeded, and `dedupeFor` keeps its key held as done.
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

async function book(job: Job<Payment>): Promise<string> {
  await new Promise(resolve => setTimeout(resolve, 300));
  booked.push(job.data.paymentId);
  return `booked ${job.data.cents} cents`;
}

// raiseIfLock needs attempts and a backoff: without them the duplicate fails within milliseconds.
const guarded = onceProcessor(book, { key: 'payment-{paymentId}', raiseIfLock: true, dedupeFor: 1000 });
const worker = new Worker('payments', guarded, { connection, concurrency: 10 });
worker.on('failed', (job, error) => console.log(`delivery ${job?.id} is retried: ${error.message}`));

const data = { paymentId: 'pay_1', cents: 4200 };
const opts = { attempts: 3, backoff: { type: 'fixed', delay: 200 }, removeOnFail: true };
await queue.addBulk(['first', 'second'].map(jobId => ({ name: 'paid', data, opts: { ...opts, jobId } })));

while ((await queue.getJobCountByTypes('wait', 'active', 'delayed')) > 0) {
  await new Promise(resolve => setTimeout(resolve, 100));
}
await worker.close();
await queue.close();
console.log(`booked ${booked.length} time: ${booked}`);
