/** Whether BullMQ will run a job again whose processor threw, and when. */

import { factsOf } from '../core/errors.ts';
import { mayStartAgain } from './delay.ts';
import { isInSandbox, type RunningJob } from './job.ts';

/** With these the processor says that it has moved the job itself. */
const MOVED = ['DelayedError', 'WaitingError', 'WaitingChildrenError'];
/** BullMQ recognises this one by its message. */
const RATE_LIMITED = 'bullmq:rateLimitExceeded';

/**
 * Whether the job may run again: its processor moved it, or BullMQ may retry it. `false` is certain. `true` is not: a custom
 * backoff may still say no, and so does a subclass of `UnrecoverableError`.
 * @see https://docs.bullmq.io/guide/retrying-failing-jobs
 */
export function mayRunAgain(job: RunningJob, error: unknown): boolean {
  if (wasMoved(error)) return true;
  const { attemptsMade = 0, discarded, opts } = job;
  if (discarded || factsOf(error).name === 'UnrecoverableError' || !mayStartAgain(job)) return false;
  return attemptsMade + 1 < (opts?.attempts ?? 1);
}

/** In how many ms the job comes back, where that is known. A producer chooses the backoff: it may be anything. */
export function comesBackIn(job: RunningJob, error: unknown): number | undefined {
  const ms: unknown = wasMoved(error) ? movedFor(job, error) : longestBackoff(job);
  return typeof ms === 'number' && ms >= 0 ? ms : undefined;
}

/** The longest time until a failed job is retried, in ms; `undefined` where the user's function decides. */
function longestBackoff({ attemptsMade = 0, opts }: RunningJob): number | undefined {
  const backoff = opts?.backoff;
  if (!backoff) return 0;
  if (typeof backoff === 'number') return backoff;
  const { type, delay = 0 } = backoff;
  if (type === 'fixed') return delay;
  // Jitter makes it shorter, never longer.
  return type === 'exponential' ? Math.round(2 ** attemptsMade * delay) : undefined;
}

/** Whether the processor has moved its job itself, and is to go on when it comes back. */
export function wasMoved(error: unknown): boolean {
  return factsOf(error).message === RATE_LIMITED || isA(MOVED, error);
}

/** `moveToDelayed` records on the job how long. In a sandbox it does not. */
function movedFor(job: RunningJob, error: unknown): number | undefined {
  return isA(['DelayedError'], error) && !isInSandbox(job) ? job.delay : undefined;
}

/** Whether an error is one of BullMQ's: by its name, or by its class, of which it may be a subclass with another name. */
function isA(names: readonly string[], error: unknown): boolean {
  return [factsOf(error).name as string, ...classNamesOf(error)].some(name => names.includes(name));
}

function classNamesOf(error: unknown): string[] {
  const names: string[] = [];
  if (!(error instanceof Error)) return names;
  for (let proto = Object.getPrototypeOf(error); proto !== null; proto = Object.getPrototypeOf(proto)) {
    names.push(String(proto.constructor?.name));
  }
  return names;
}
