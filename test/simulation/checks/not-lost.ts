/** 10. No job is lost: when all is over BullMQ has finished each of them, with a run of its own or for a reason that is documented. */

import { ancestorsOf, type Facts, isOfCancel, type JobFacts } from '../facts.ts';
import type { QueueModel } from '../queue-model.ts';
import type { Check } from './check.ts';

const LEGITIMATE = [
  'asked to fail',
  'job stalled more than allowable limit',
  'job started more than allowable limit',
  // A parent that adds children, and goes on without them.
  'has pending dependencies',
  'because it has at least one failed child',
];

export function notLost(facts: Facts): Check {
  /** One that was parked and ran without a lock keeps its position, also while it waits for a child that has failed. */
  function isBehindStuck({ storedKey }: JobFacts, queues: readonly QueueModel[]): boolean {
    return (
      facts.options.onCacheError === 'run' &&
      facts.jobs.some(other => other.storedKey === storedKey && queues[other.queue]?.isStuck(other.id))
    );
  }

  return {
    atEnd(queues) {
      for (const job of facts.jobs) {
        const stored = queues[job.queue]?.get(job.id);
        if (job.end === 'removed' || stored?.timestamp !== job.timestamp) continue;
        if (queues[job.queue]?.isStuck(job.id) || isBehindStuck(job, queues)) continue;
        if (stored.state !== 'completed' && stored.state !== 'failed') {
          facts.violate(10, `job ${job.nth} is ${stored.state} when all is over`);
          continue;
        }
        if (stored.state === 'completed' && job.successes === 0 && !job.wasSkipped) {
          facts.violate(10, `job ${job.nth} has completed, but has neither run nor been skipped`);
        }
        const reason = stored.failedReason ?? '';
        const isOfFlow = isChildOf(job, reason) || /^child .* failed$/.test(reason);
        const isOwn =
          LEGITIMATE.some(one => reason.includes(one)) ||
          isOfFlow ||
          isOfCancel(reason, job) ||
          isOfGuard(reason);
        if (stored.state === 'failed' && !isOwn) facts.violate(10, `job ${job.nth} has failed: ${reason}`);
      }
    },
  };
}

/** What a duplicate may fail with, and what a job may whose datastore failed. */
function isOfGuard(reason: string): boolean {
  return /^lock |lock|^Missing|^Lock mismatch|Connection is closed|is not in the active/.test(reason);
}

/** It was refused because its parent has reserved the key, and waits for it. */
function isChildOf(job: JobFacts, reason: string): boolean {
  return reason.includes("is reserved by the job's own parent") && ancestorsOf(job).length > 0;
}
