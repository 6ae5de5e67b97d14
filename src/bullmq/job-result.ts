/** The result of a job where BullMQ keeps it: reads one that is too large to be kept with its key, and knows which BullMQ can't keep. */

import type { LockCache } from '../cache/contract.ts';
import type { OwnedBy } from '../key/owner-id.ts';
import { type RunningJob, readJob, type WorkerLike } from './job.ts';
import { isOnPostgres } from './queue-cache.ts';
import { workerOf } from './workers.ts';

/** A job that did the work completes a moment after its key was released. */
const MAX_WAIT_MS = 5000;
const PAUSE_MS = 20;

/**
 * The result of a job of the asking job's own queue, or of one that has a worker in this process.
 * @param other - the job of an owner, where that names one.
 * @param cache - where its lock is kept.
 * @returns `undefined` where BullMQ has that job no longer, or it has no result.
 */
export async function resultOfJob(
  asking: RunningJob,
  other: OwnedBy | undefined,
  cache: LockCache,
): Promise<unknown> {
  const queue = other && workerOf(asking, other.queueQualifiedName, cache);
  if (!queue) return undefined;
  const end = performance.now() + MAX_WAIT_MS;
  for (;;) {
    const job = await readJob(queue, other);
    if (!job) return undefined;
    if (job.finishedOn !== undefined || performance.now() > end) return job.returnvalue ?? undefined;
    await new Promise(resolve => setTimeout(resolve, PAUSE_MS));
  }
}

/** PostgreSQL's `jsonb` refuses the character U+0000, and half of a surrogate pair. JSON escapes both. */
const REFUSED_BY_JSONB = /(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f])/;

/**
 * Whether the datastore of a worker's queue refuses a result. BullMQ fails its job.
 * @param json - the result.
 */
export function isRefusedByQueue(worker: WorkerLike | undefined, json: string): boolean {
  return worker !== undefined && json.includes('\\u') && isOnPostgres(worker) && REFUSED_BY_JSONB.test(json);
}
