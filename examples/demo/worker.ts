/**
 * One worker process of the demo. It notes the beginning and the end of each of its runs in a file of its own,
 * which survives its death: that is how the demo counts overlaps, without asking the lock.
 * Arguments: a JSON of { address, queueName, folder, log, pace }.
 */

import { createHash } from 'node:crypto';
import { appendFileSync, createReadStream } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Job } from 'bullmq';
import { onceProcessor } from 'bullmq-once';
import { bullmqOn } from './store.ts';

const { address, queueName, folder, log, pace } = JSON.parse(process.argv[2] as string);

function note(what: 'begin' | 'end', job: Job, digest?: string): void {
  // The monotonic clock is one for all processes of a machine.
  const at = Number(process.hrtime.bigint()) / 1e6;
  appendFileSync(log, `${JSON.stringify({ what, path: job.data.path, job: job.id, at, digest })}\n`);
}

async function digest(job: Job<{ path: string }>): Promise<string> {
  note('begin', job);
  process.send?.('begin');
  const hash = createHash('sha256');
  await pipeline(createReadStream(join(folder, job.data.path)), hash);
  // A digest takes microseconds; the pause makes it a job that others run into.
  await delay(pace);
  const result = hash.digest('hex');
  note('end', job, result);
  return result;
}

const { Worker, connection } = bullmqOn(address);
// BullMQ hands a dead worker's jobs out again after about two seconds, long before their leases end: they are taken over.
const worker = new Worker(queueName, onceProcessor(digest, { key: 'digest-{path}', ttl: 30_000 }), {
  connection,
  concurrency: 8,
  lockDuration: 2000,
  stalledInterval: 500,
});
worker.on('error', () => {});
process.on('message', () => void worker.close().then(() => process.disconnect?.()));
