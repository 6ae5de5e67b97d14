/**
 * Moves a job that was promoted to the front of its queue. BullMQ puts it behind all that wait, though it was handed out before them: in
 * a long queue each job of a line would wait for all of them once more.
 */

import { getOrCreate } from '../core/get-or-create.ts';
import type { OwnedBy } from '../key/owner-id.ts';
import { type RunningJob, readJob, type WorkerLike } from './job.ts';
import { readerOf } from './list-reader.ts';

/** For how long it is believed that others wait in a queue, or do not, in ms. */
const BELIEVE_MS = 200;
/** What was read of a job is believed for so long, in ms: later its priority may have been changed, and to move it would undo that. */
const BELIEVE_JOB_MS = 1000;
/** The lists of jobs without a priority. BullMQ 5 keeps those of a queue that is paused in one of their own. */
const WITHOUT_PRIORITY = ['wait', 'paused'];
/** Redis looks at each job of such a list. Of more than this a job stays where BullMQ has put it. */
const MAX_WAITING = 20_000;

/** Whether others wait in the queue of a worker, and not too many. */
class Backlog {
  readonly #worker: WorkerLike;
  #answer: Promise<boolean> | undefined;
  #believedUntil = 0;

  constructor(worker: WorkerLike) {
    this.#worker = worker;
  }

  ask(): Promise<boolean> {
    const now = performance.now();
    if (this.#answer && now < this.#believedUntil) return this.#answer;
    this.#believedUntil = now + BELIEVE_MS;
    this.#answer = this.#look();
    return this.#answer;
  }

  async #look(): Promise<boolean> {
    const reader = readerOf(this.#worker);
    const countWithin = async (lists: string[], from: number, to: number) =>
      (await reader?.getRanges?.(lists, from, to, true))?.flat().length ?? 0;
    const others = await countWithin([...WITHOUT_PRIORITY, 'prioritized'], 0, 1);
    return others > 1 && (await countWithin(WITHOUT_PRIORITY, MAX_WAITING, MAX_WAITING)) === 0;
  }
}

const backlogs = new WeakMap<WorkerLike, Backlog>();

function backlogOf(worker: WorkerLike): Backlog {
  return getOrCreate(backlogs, worker, () => new Backlog(worker));
}

/** A job that is to be promoted to the front. It is read before, where others wait: then it can be promoted and moved at once. */
export class AwaitedJob {
  #job: RunningJob | undefined;
  #believedUntil = 0;

  constructor(worker: WorkerLike, owner: OwnedBy) {
    readToMove(worker, owner).then(
      job => {
        this.#job = job;
        this.#believedUntil = performance.now() + BELIEVE_JOB_MS;
      },
      () => {},
    );
  }

  /** Absent until it was read, where it need not be moved, and where it was read too long ago. */
  get job(): RunningJob | undefined {
    return performance.now() < this.#believedUntil ? this.#job : undefined;
  }
}

/** Looks whether others wait in a queue, before many jobs are promoted: these would be taken for such others. */
export function lookAtBacklog(worker: WorkerLike): void {
  backlogOf(worker)
    .ask()
    .catch(() => {});
}

/** Moves a job to the front of those of its priority, where others wait. Never rejects. */
export async function moveToFront(worker: WorkerLike, owner: OwnedBy): Promise<void> {
  try {
    const job = await readToMove(worker, owner);
    if (job) await sendToFront(job);
  } catch {
    // It stays where BullMQ has put it.
  }
}

export async function sendToFront(job: RunningJob): Promise<void> {
  await job.changePriority?.({ priority: job.priority || 0, lifo: true });
}

async function readToMove(worker: WorkerLike, owner: OwnedBy): Promise<RunningJob | undefined> {
  const isWorthIt = await backlogOf(worker).ask();
  return isWorthIt ? readJob(worker, owner) : undefined;
}
