/** The file of a sandboxed processor. */

import type { SandboxedJob } from 'bullmq';
import { MemoryCache, onceProcessor } from 'bullmq-once';

async function send(
  job: SandboxedJob<{ userId: number }>,
  _token: string | undefined,
  signal: AbortSignal | undefined,
): Promise<string> {
  return `${job.data.userId} ${signal?.aborted}`;
}

const cache = new MemoryCache();
export const byFunction: (job: SandboxedJob) => Promise<string | undefined> = onceProcessor(send, {
  key: job => `welcome-${job.data.userId}`,
  whenLocked: (job, holder) => `${job.id} is a duplicate of ${holder.owner}`,
  cache,
});
export default onceProcessor(send, { key: 'welcome-{userId}', cache }) as typeof byFunction;
