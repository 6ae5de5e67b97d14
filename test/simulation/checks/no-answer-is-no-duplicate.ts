/** 8. A job is treated as a duplicate only where the datastore has refused it, and runs only where the datastore has granted its key. */

import type { Facts, JobFacts } from '../facts.ts';
import type { Check } from './check.ts';

export function noAnswerIsNoDuplicate(facts: Facts): Check {
  const { options } = facts;
  const isObserved = options.mode === 'observe';
  const maySeeTrouble = (): boolean =>
    !facts.isCalm('serverUntil', 'networkUntil', 'processUntil', 'dataLostAt', 'serverJumpedAt');
  /** Those who wait for a key in one process share what the first of them finds. */
  const isRefused = (job: JobFacts, attempt: number): boolean => {
    if (job.refusedIn.has(attempt)) return true;
    return (
      facts.waitInSlots &&
      (facts.refusedAt.get(job.storedKey) ?? -1) >=
        (job.handouts.find(one => one.attempt === attempt)?.at ?? Infinity)
    );
  };
  return {
    onStarted({ job, lock, signal }) {
      if (isObserved) return;
      if (!lock.isGuarded) {
        if (options.onCacheError !== 'run' || !maySeeTrouble()) {
          facts.violate(8, `job ${job.nth} runs without a lock`);
        }
        return;
      }
      if (!lock.held && signal.reason?.reason === 'expired') {
        facts.violate(8, `job ${job.nth} begins with a lock whose answer came too late`);
      }
      const isGranted = [...facts.leases.values()].some(
        ({ owner, fence, storedKey }) =>
          owner === job.owner && fence === lock.fence && storedKey === job.storedKey,
      );
      if (!isGranted) facts.violate(8, `job ${job.nth} runs with a lock that nobody has granted`);
    },
    onProcessed(job, { attemptsStarted }, outcome) {
      const hasRun = job.runs.some(({ attempt }) => attempt === attemptsStarted);
      if (hasRun) return;
      if ('value' in outcome) {
        if (!isRefused(job, attemptsStarted)) {
          facts.violate(8, `job ${job.nth} completes without a run, and nobody has refused it`);
        }
        return;
      }
      const { name, message, code } = outcome.error as Error & { code?: string };
      const isDuplicate = name === 'LockError' || name === 'DelayedError' || code === 'ERR_LOCK_MISMATCH';
      if (isDuplicate && !isRefused(job, attemptsStarted)) {
        facts.violate(8, `job ${job.nth} ends with ${name}, and nobody has refused it`);
      }
      if (name === 'CacheError' && !maySeeTrouble()) {
        facts.violate(8, `job ${job.nth} fails with a CacheError, and nothing was broken: ${message}`);
      }
    },
  };
}
