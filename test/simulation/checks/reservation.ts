/** 11. What is reserved for a job is nobody else's while BullMQ has the job to run, and is free as soon as BullMQ has not. */

import { type Facts, type JobFacts, type Run, runUnder } from '../facts.ts';
import type { QueueModel } from '../queue-model.ts';
import { CANCELLED, RATE_LIMITED } from '../worker-model.ts';
import type { Check } from './check.ts';

/** The processor has moved its job itself. */
const MOVED = ['DelayedError', 'WaitingError', 'WaitingChildrenError'];

function wasMoved({ name, message }: Error): boolean {
  return MOVED.includes(name) || message === RATE_LIMITED;
}

export function reservation(facts: Facts, queues: readonly QueueModel[]): Check {
  function isToRun({ queue, id, timestamp }: JobFacts): boolean {
    const stored = queues[queue]?.get(id);
    return stored !== undefined && stored.timestamp === timestamp && stored.finishedOn === undefined;
  }
  const { holdThroughRetries = false } = facts.options;
  return {
    onReleased({ reservation }, lease) {
      const run = runUnder(lease, facts);
      if (!run?.outcome || !('error' in run.outcome) || run.hasReleased) return;
      // What has aborted its signal first is all that it shows: it may have been replaced since.
      if (run.signal.reason === CANCELLED) return;
      const runsAgain = willRunAgain(run, run.outcome.error as Error);
      if (runsAgain === undefined) return;
      const isReplaced = run.signal.reason?.reason === 'replaced' && !wasMoved(run.outcome.error as Error);
      const isExpected = holdThroughRetries && runsAgain && !isReplaced;
      if (isExpected === (reservation !== undefined)) return;
      facts.violate(11, `job ${run.job.nth} ${isExpected ? 'has not reserved' : 'has reserved'} its key`);
    },
    onFreed({ owner, state, attempt }) {
      const job = facts.byOwner.get(owner);
      if (!job || state !== 'reserved' || !isToRun(job)) return;
      // A server that took over counts the job's runs anew.
      if (!facts.isCalm('dataLostAt')) return;
      // Its own newer run may free what it can't reclaim.
      if (job.handouts.some(handout => handout.attempt !== attempt && handout.at > facts.now - 1000)) return;
      facts.violate(11, `what is reserved for job ${job.nth} is freed, and BullMQ has the job to run`);
    },
    onEvent(event, job) {
      if (event.type !== 'skipped' && event.type !== 'raised') return;
      const { holder, observed } = event;
      // A cache that was named may serve queues of other servers: a job that is not found may be one of theirs.
      if (facts.isCacheNamed) return;
      if (observed || holder?.state !== 'reserved' || !job) return;
      const other = facts.byOwner.get(holder.owner);
      const askedSince = job.handouts.at(-1)?.at ?? Number.POSITIVE_INFINITY;
      if (!other || other.endedAt === undefined || other.endedAt >= askedSince || isToRun(other)) return;
      if (!facts.isCalm('networkUntil', 'serverUntil', 'processUntil', 'dataLostAt')) return;
      facts.violate(
        11,
        `job ${job.nth} is ${event.type} for a reservation of job ${other.nth}, which has ended`,
      );
    },
  };
}

/** `undefined`: a worker may also end it because it has started too often. */
function willRunAgain({ model }: Run, error: Error): boolean | undefined {
  if (model.queue.opts.maxStartedAttempts !== undefined) return undefined;
  if (wasMoved(error)) return true;
  return error.name !== 'UnrecoverableError' && model.attemptsMade + 1 < (model.opts.attempts ?? 1);
}
