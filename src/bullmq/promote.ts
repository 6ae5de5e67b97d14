/** Runs delayed jobs now. */

import type { LockCache } from '../cache/contract.ts';
import { getOrCreate } from '../core/get-or-create.ts';
import { setImmediate } from '../core/timers.ts';
import type { OwnedBy } from '../key/owner-id.ts';
import { attemptOf, isNumbered, type RunningJob, readJob, type WorkerLike } from './job.ts';
import { AwaitedJob, moveToFront, sendToFront } from './to-the-front.ts';
import { workerOf } from './workers.ts';

/** BullMQ's class `Job`. */
type JobClass = new (queue: unknown, name: string, data: unknown, opts: object, id: string) => RunningJob;

/** What a worker promotes now. */
interface Promotions {
  /** By the ids of the jobs. */
  readonly underWay: Map<string, Promise<boolean>>;
  /** Of those who wait for an answer before they promote: each sends its command at once. */
  readonly hurries: Set<() => void>;
}

const ofWorkers = new WeakMap<WorkerLike, Promotions>();

function promotionsOf(worker: WorkerLike): Promotions {
  return getOrCreate(ofWorkers, worker, () => {
    const hurries = new Set<() => void>();
    // When an answer comes, a worker that closes may have closed its connection.
    worker.once?.('closing', () => {
      for (const hurry of hurries) hurry();
    });
    return { underWay: new Map(), hurries };
  });
}

/**
 * Shows that a job is parked still. One that has come meanwhile may have failed: BullMQ delays it too, for its backoff. What is known of a
 * job that is read is as old as the reading.
 */
export interface StillParked {
  /** In which of its starts it was parked. */
  readonly start?: number | undefined;
  /** Called when the job is read. */
  readonly isParked?: (() => Promise<boolean>) | undefined;
}

/**
 * Calls back when a worker begins to close.
 * @returns a function that ends it.
 */
export function whenClosing(worker: WorkerLike, hurry: () => void): () => void {
  const { hurries } = promotionsOf(worker);
  hurries.add(hurry);
  return () => hurries.delete(hurry);
}

export interface PromoteOptions extends StillParked {
  /**
   * It was parked a moment ago. Then a numbered job is not read: an obliterated queue does not count anew so soon. The command is sent
   * before the promise callbacks of this turn of the event loop have all run.
   */
  readonly isKnown?: boolean;
  /** The connection is about to be closed: a numbered job is not read. */
  readonly isInHaste?: boolean;
  /** It may have been read. That is of use where it is numbered. */
  readonly awaited?: AwaitedJob | undefined;
}

/**
 * Promotes a job to the front of its queue: of the asking job's own queue, or of one that has a worker in this process. It is read first:
 * another job may have its id by now.
 * @param cache - where its lock is kept.
 * @returns whether it was promoted. `false`: it is not delayed, or is gone, or its queue is out of reach.
 */
export function promoteJob(
  asking: RunningJob,
  owner: OwnedBy,
  cache: LockCache,
  how: PromoteOptions = {},
): Promise<boolean> {
  const { queueQualifiedName, jobId } = owner;
  const worker = workerOf(asking, queueQualifiedName, cache);
  if (!worker) return Promise.resolve(false);
  const { underWay } = promotionsOf(worker);
  const start = () => startPromotion(asking, worker, owner, how);
  const known = underWay.get(jobId);
  // It may have been sent before the job was delayed. A job that promotes itself knows that it is.
  if (known) return known.then(wasPromoted => wasPromoted || (how.start !== undefined && start()));
  const promoted = start();
  underWay.set(jobId, promoted);
  // Who asks because of an answer that came together with this one asks a moment later.
  void promoted.finally(() => setImmediate(() => underWay.delete(jobId)));
  return promoted;
}

function startPromotion(
  asking: RunningJob,
  worker: WorkerLike,
  owner: OwnedBy,
  how: PromoteOptions,
): Promise<boolean> {
  const { isKnown = false, isInHaste = false, awaited } = how;
  const hasNumber = isNumbered(owner.jobId);
  const read = hasNumber ? awaited?.job : undefined;
  // A queue of the same name may be on another server, and have another job with that number.
  const needsNoRead = worker === asking.queue && hasNumber && (isKnown || isInHaste);
  if (read) return promoteToFront(read);
  return promoteThenMove(asking, worker, owner, needsNoRead ? undefined : how);
}

/** Reads the next job of a line, where that serves its promotion. */
export function awaitNext(asking: RunningJob, owner: OwnedBy, cache: LockCache): AwaitedJob | undefined {
  const worker = workerOf(asking, owner.queueQualifiedName, cache);
  return worker && new AwaitedJob(worker, owner);
}

/** Both are sent at once. */
function promoteToFront(job: RunningJob): Promise<boolean> {
  const promoted = promote(job);
  sendToFront(job).catch(() => {});
  return promoted;
}

/** @param still - absent where the job is not read. */
async function promoteThenMove(
  asking: RunningJob,
  worker: WorkerLike,
  owner: OwnedBy,
  still: StillParked | undefined,
): Promise<boolean> {
  const promoteUnread = () => promote(unreadJob(asking.constructor as JobClass, worker, owner.jobId));
  const wasPromoted = await (still
    ? readAndPromote(asking, worker, owner, still, promoteUnread)
    : promoteUnread());
  if (wasPromoted) void moveToFront(worker, owner);
  return wasPromoted;
}

/** @param promoteUnread - what is done instead if the worker begins to close meanwhile. */
async function readAndPromote(
  asking: RunningJob,
  worker: WorkerLike,
  owner: OwnedBy,
  still: StillParked,
  promoteUnread: () => Promise<boolean>,
): Promise<boolean> {
  if (worker !== asking.queue) return promoteJobOfQueue(worker, owner, still);
  let hurried: Promise<boolean> | undefined;
  const stop = whenClosing(worker, () => {
    if (isNumbered(owner.jobId)) hurried = promoteUnread();
  });
  const promoted = await promoteJobOfQueue(worker, owner, still);
  stop();
  return hurried ?? promoted;
}

/** It need not be read to be promoted. */
function unreadJob(Job: JobClass, worker: WorkerLike, id: string): RunningJob {
  return new Job(worker, '', {}, {}, id);
}

async function promote(job: RunningJob): Promise<boolean> {
  if (!job.promote) return false;
  try {
    await job.promote();
    return true;
  } catch {
    return false;
  }
}

/**
 * Promotes a job of a queue, unless another job has its id by now, or it is parked no more. Never rejects.
 * @returns as {@link promoteJob}.
 */
export async function promoteJobOfQueue(
  queue: object,
  owner: OwnedBy,
  { start, isParked }: StillParked,
): Promise<boolean> {
  try {
    const [job, isStillParked] = await Promise.all([readJob(queue, owner), isParked?.()]);
    const hasCome = isStillParked === false || (start !== undefined && job && attemptOf(job) !== start);
    return job !== undefined && !hasCome && (await promote(job));
  } catch {
    return false;
  }
}
