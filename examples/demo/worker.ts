/**
 * One worker process of the demo. It notes the start and the end of each of its runs in a file of its own, which remains when it
 * is killed. So the demo counts overlaps without asking the lock. Argument: a JSON of { address, queueName, folder, log, paceMs }.
 */

import { createHash } from 'node:crypto';
import { appendFileSync, createReadStream } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Job } from 'bullmq';
import { onceProcessor } from 'bullmq-once';
import { bullmqOn } from './store.ts';

const { address, queueName, folder, log, paceMs } = JSON.parse(process.argv[2] as string);

function note(what: 'start' | 'end', job: Job, digest?: string): void {
  // The monotonic clock is one for all processes of a machine.
  const at = Number(process.hrtime.bigint()) / 1e6;
  appendFileSync(log, `${JSON.stringify({ what, path: job.data.path, job: job.id, at, digest })}\n`);
}

async function digest(job: Job<{ path: string }>): Promise<string> {
  note('start', job);
  process.send?.('start');
  const hash = createHash('sha256');
  await pipeline(createReadStream(join(folder, job.data.path)), hash);
  // A digest takes microseconds. The pause makes it a job that has duplicates while it runs.
  await delay(paceMs);
  const result = hash.digest('hex');
  note('end', job, result);
  return result;
}

const { Worker, connection } = bullmqOn(address);
// BullMQ hands out the jobs of a dead worker again after about two seconds, long before their leases end. They reclaim them.
const worker = new Worker(queueName, onceProcessor(digest, { key: 'digest-{path}', ttl: 30_000 }), {
  connection,
  concurrency: 8,
  lockDuration: 2000,
  stalledInterval: 500,
});
worker.on('error', () => {});
process.on('message', () => void worker.close().then(() => process.disconnect?.()));
