/** Runs delayed jobs now. */

import { setImmediate } from '../core/timers.ts';
import type { OwnedBy } from '../key/owner-id.ts';
import type { RunningJob, WorkerLike } from './job.ts';
import { workerOf } from './workers.ts';

/** BullMQ's class `Job`. */
type JobClass = new (queue: unknown, name: string, data: unknown, opts: object, id: string) => RunningJob;

/** A number that a queue gave. Other ids are a producer's choice, and may be given again. */
const IS_NUMBER = /^\d+$/;

const underWay = new Map<string, Promise<boolean>>();

/**
 * Promotes a job: of the asking job's own queue, or of one that has a worker in this process. It is read first: another job may have its
 * id by now.
 * @param isKnown - it was parked a moment ago. Then a numbered job is not read: an obliterated queue does not count anew so soon. The
 * command is sent before the promise callbacks of this turn of the event loop have all run.
 * @returns whether it was promoted. `false`: it is not delayed, or is gone, or its queue is out of reach.
 */
export function promoteJob(
  asking: RunningJob,
  owner: OwnedBy,
  { isKnown = false }: { isKnown?: boolean } = {},
): Promise<boolean> {
  const { queueQualifiedName, jobId } = owner;
  const worker = workerOf(asking, queueQualifiedName);
  if (!worker) return Promise.resolve(false);
  const name = `${queueQualifiedName}:${jobId}`;
  const known = underWay.get(name);
  if (known) return known;
  const promoted =
    isKnown && IS_NUMBER.test(jobId)
      ? promote(asking.constructor as JobClass, worker, jobId)
      : promoteJobOfQueue(worker, owner);
  underWay.set(name, promoted);
  // Who asks because of an answer that came together with this one asks a moment later.
  void promoted.finally(() => setImmediate(() => underWay.delete(name)));
  return promoted;
}

async function promote(Job: JobClass, worker: WorkerLike, id: string): Promise<boolean> {
  try {
    // It need not be read for that.
    await new Job(worker, '', {}, {}, id).promote?.();
    return true;
  } catch {
    return false;
  }
}

/** What is needed of BullMQ's `Queue` or `Worker`: its class `Job`, which BullMQ's types hide. */
interface QueueOfJobs {
  readonly Job?: {
    fromId(queue: unknown, id: string): Promise<Pick<RunningJob, 'timestamp' | 'promote'> | undefined>;
  };
}

/**
 * Promotes a job of a queue, unless another job has its id by now. Never rejects.
 * @returns as {@link promoteJob}.
 */
export async function promoteJobOfQueue(queue: object, { jobId, timestamp }: OwnedBy): Promise<boolean> {
  try {
    const job = await (queue as QueueOfJobs).Job?.fromId(queue, jobId);
    if (!job?.promote || job.timestamp !== timestamp) return false;
    await job.promote();
    return true;
  } catch {
    return false;
  }
}
