/** Processors of workers. */

import { type Job, Worker } from 'bullmq';
import { onceProcessor } from 'bullmq-once';

interface Data {
  readonly userId: number;
  readonly user?: { readonly name: string; readonly tags: readonly string[] };
}
type Name = 'welcome' | 'goodbye';

const connection = { host: '127.0.0.1' };

async function send(job: Job<Data, string, Name>): Promise<string> {
  return `${job.name} ${job.data.userId}`;
}

new Worker('emails', onceProcessor(send, { key: 'welcome-{userId}' }), { connection });
new Worker('emails', onceProcessor(send, { match: '{user.name}' }), { connection });
new Worker('emails', onceProcessor(send, { key: 'welcome', match: job => job.name }), { connection });
new Worker<Data, string | undefined, Name>('emails', onceProcessor(send, { key: '{user.tags.0}' }), {
  connection,
});

// The job has the worker's type.
new Worker<Data, string | undefined, Name>(
  'emails',
  onceProcessor(
    async (job, _token, signal, lock) => `${job.data.user?.name} ${signal?.aborted} ${lock.fence}`,
    { key: job => `${job.data.userId}`, whenLocked: (job, holder) => `${job.data.userId} ${holder.key}` },
  ),
  { connection },
);
new Worker<Data>(
  'emails',
  onceProcessor(async job => job.data.userId, { whenLocked: { delay: job => job.data.userId } }),
  { connection },
);
new Worker<Data>(
  'emails',
  onceProcessor(async job => job.data.userId),
  { connection },
);

// Any data, and jobs without a type.
new Worker(
  'emails',
  onceProcessor(async job => job.data.whatever, { key: 'welcome-{whatever}' }),
  { connection },
);
new Worker(
  'emails',
  onceProcessor(async () => 'sent', { key: 'welcome-{whatever}' }),
  { connection },
);

// A template that is not known at compile time.
onceProcessor(send, { key: String(process.env.KEY) });
// Of a job no more than its data.
onceProcessor(async ({ data }: { data: Data }) => data.userId, { key: 'welcome-{user.name}' });
