/** 9. What the processor returns or throws comes out unchanged, and nothing else comes out of the guard but its own errors. */

import { ancestorsOf, type Facts, isOfCancel, type JobFacts, runOf } from '../facts.ts';
import type { Check } from './check.ts';

const OWN_ERRORS = ['LockError', 'LockLostError', 'CacheError', 'DelayedError'];
/** What BullMQ says of a job that is not this worker's any more. */
const OF_BULLMQ = /^(Missing lock|Missing key|Lock mismatch|Job .* is not in the active)/;

export function hidesNothing(facts: Facts): Check {
  /** One of its ancestors has reserved the key, and waits for it. */
  function mayWaitForItself(job: JobFacts): boolean {
    const owners = ancestorsOf(job).map(({ owner }) => owner);
    const { holdThroughRetries } = facts.options;
    const ofKey = [...facts.leases.values()].filter(({ storedKey }) => storedKey === job.storedKey);
    return holdThroughRetries === true && ofKey.some(({ owner }) => owners.includes(owner));
  }

  return {
    onProcessed(job, model, outcome) {
      const run = runOf(job, model);
      if (run?.outcome) {
        const isSame =
          'value' in outcome
            ? 'value' in run.outcome && run.outcome.value === outcome.value
            : 'error' in run.outcome && run.outcome.error === outcome.error;
        if (!isSame) facts.violate(9, `what job ${job.nth} returned or threw does not come out of the guard`);
        return;
      }
      if (run) {
        facts.violate(9, `the guard is done with job ${job.nth} before its processor is`);
        return;
      }
      if ('value' in outcome) return;
      const { name, message, code } = outcome.error as Error & { code?: string };
      // BullMQ recognises by its name that it is not to be retried.
      if (code === 'ERR_LOCK_MISMATCH') return;
      const isBullmqs = OF_BULLMQ.test(message) || message === 'Connection is closed.';
      if (isOfCancel(message, job)) return;
      const isOwn = OWN_ERRORS.includes(name) || (name === 'KeyError' && mayWaitForItself(job));
      if (!isOwn && !isBullmqs) {
        facts.violate(
          9,
          `job ${job.nth} fails with an error that is nobody's: ${(outcome.error as Error).stack}`,
        );
      }
    },
  };
}
