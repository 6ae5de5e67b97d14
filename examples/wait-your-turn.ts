/**
 * Three changes to one account must all be made, one after another and soon. Those that find it held wait in their slots of the
 * worker, and are notified when it is released.
 */

import { type Job, Queue, Worker } from 'bullmq';
import { onceProcessor } from 'bullmq-once';

const connection = { url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' };
const queue = new Queue('accounts', { connection });
await queue.obliterate({ force: true });

const balances = new Map([['alice', 100]]);

async function change(job: Job<{ account: string; by: number }>): Promise<void> {
  const { account, by } = job.data;
  const before = balances.get(account) ?? 0;
  await new Promise(resolve => setTimeout(resolve, 100));
  balances.set(account, before + by);
}

// A job that has waited for five seconds fails. Without raiseIfLock it would be skipped.
const guarded = onceProcessor(change, {
  key: 'account-{account}',
  whenLocked: { waitFor: 5000 },
  raiseIfLock: true,
});
const worker = new Worker('accounts', guarded, { connection, concurrency: 10 });

await queue.addBulk([10, 20, 30].map(by => ({ name: 'change', data: { account: 'alice', by } })));
while ((await queue.getCompletedCount()) < 3) await new Promise(resolve => setTimeout(resolve, 50));

await worker.close();
await queue.close();
console.log(`alice has ${balances.get('alice')}`);
