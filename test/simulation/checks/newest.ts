/** 10. `'keep-last'` and `'replace'`: the newest job runs last, and only older ones are skipped. */

import type { Facts, JobFacts } from '../facts.ts';
import type { Check } from './check.ts';

export function newest(facts: Facts): Check {
  const { whenLocked, mode } = facts.options;
  if ((whenLocked !== 'keep-last' && whenLocked !== 'replace') || mode === 'observe') return {};
  if (!facts.isOneVersion) return {};
  /** The last job that acquired each key for a run from the beginning. */
  const last = new Map<string, { readonly job: JobFacts; readonly at: number }>();

  return {
    onGranted({ step, job, before, isRepeated }) {
      if (!job || isRepeated) return;
      const goesOn = before.some(({ owner }) => owner === job.owner);
      const previous = last.get(job.storedKey);
      if (goesOn) return;
      last.set(job.storedKey, { job, at: facts.now });
      if (!previous || previous.job === job || !isNewer(previous.job, job)) return;
      if (!facts.isCalm('dataLostAt', 'serverJumpedAt', 'operatorAt')) return;
      // One that failed for good, or was removed, has outdone nobody.
      if (previous.job.end !== undefined && previous.job.successes === 0) return;
      // Of a caller nobody knows whether it is newer: behind it an older job is parked too.
      const wasBehindCaller = facts.calls.some(({ storedKey }) => storedKey === job.storedKey);
      const isFirst = step.attempt === 1 || wasBehindCaller;
      if (isFirst && !areNumbered(job, previous.job)) return;
      // Who has run last is not remembered for ever.
      if (facts.now - previous.at > 2 * step.ttl) return;
      facts.violate(10, `job ${job.nth} runs after job ${previous.job.nth}, which is newer`);
    },
    // Freeing a key makes the datastore forget who has run last.
    onFreed: ({ storedKey }) => void last.delete(storedKey),
    onEvent(event, job) {
      if (event.type !== 'skipped' || !job || event.holder?.owner === job.owner) return;
      // Times of creation are compared with the server's clock. A queue that has lost its jobs counts anew.
      if (!facts.isCalm('serverJumpedAt', 'dataLostAt')) return;
      const since = job.handouts.at(-1)?.at ?? 0;
      const isExcuse = (other: JobFacts): boolean =>
        other !== job &&
        other.storedKey === job.storedKey &&
        !isNewer(job, other) &&
        (other.firstGrantAt !== undefined ||
          (other.handouts.length > 0 && (other.endedAt ?? Infinity) >= since));
      if (!facts.jobs.some(isExcuse))
        facts.violate(10, `job ${job.nth} is skipped, and there is no newer one`);
      const own = facts.leasesOf(job.storedKey).find(({ owner }) => owner === job.owner);
      if (own?.state === 'reserved') facts.violate(10, `job ${job.nth} is skipped in the middle of its work`);
    },
    atEnd() {
      if (!facts.isCalm('dataLostAt', 'serverJumpedAt', 'operatorAt')) return;
      for (const key of new Set(facts.jobs.map(({ storedKey }) => storedKey))) {
        checkLast(facts.jobs.filter(({ storedKey }) => storedKey === key));
      }
    },
  };

  /** The newest of the jobs that have run to their end was not skipped. */
  function checkLast(jobs: readonly JobFacts[]): void {
    // Those of several queues are compared now by their numbers, now by time, now by arrival: one may be newest in no order.
    if (jobs.some(({ queue, isNumbered }) => queue !== jobs[0]?.queue || isNumbered !== jobs[0]?.isNumbered))
      return;
    for (const job of jobs) {
      // One whose work is done finds itself, where BullMQ has lost sight of it.
      const hasDone = job.runs.some(({ outcome }) => outcome !== undefined && 'value' in outcome);
      if (!job.wasSkipped || job.successes > 0 || hasDone) continue;
      // A newer one may have failed before it could run: its datastore failed.
      const hasNewer = jobs.some(
        other => other !== job && !isNewer(job, other) && (other.runs.length > 0 || other.end === 'failed'),
      );
      if (!hasNewer) facts.violate(10, `job ${job.nth} was skipped, and no newer one has run`);
    }
  }
}

/**
 * Whether a job is certainly newer than another: by the numbers of their queue, else by the times of their creation. A time that was
 * made up decides nothing.
 */
function isNewer(one: JobFacts, other: JobFacts): boolean {
  if (one.hasOddTime || other.hasOddTime) return false;
  if (areNumbered(one, other)) return one.nth > other.nth;
  return one.timestamp > other.timestamp;
}

function areNumbered(one: JobFacts, other: JobFacts): boolean {
  return one.queue === other.queue && one.isNumbered && other.isNumbered;
}
