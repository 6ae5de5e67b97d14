/** 5. The work of a job that BullMQ cancels knows at once, and the wait for a key ends. */

import type { Facts } from '../facts.ts';
import type { Check } from './check.ts';

/** What is under way when a job is cancelled may end with its work: a few round trips. */
const QUICK_MS = 250;

export function cancelled(facts: Facts): Check {
  // Under other forms a job may give way to those before it, for a second.
  const doJobsWait = facts.waitInSlots && facts.haveOneForm;
  return {
    onCancelled(job, worker) {
      const run = job.runs.findLast(({ model, endedAt }) => model.queue === worker && endedAt === undefined);
      if (run && !run.signal.aborted) {
        facts.violate(5, `job ${job.nth} is cancelled, and the signal of its work does not abort`);
      }
    },
    onStarted({ job, model, signal }) {
      const { cancel } = job;
      // A server that took over counts its runs anew.
      const handedOut = job.handouts.findLast(({ attempt }) => attempt === model.attemptsStarted);
      if (cancel?.worker !== model.queue || !handedOut || handedOut.at > cancel.at) return;
      if (!signal.aborted) {
        facts.violate(5, `job ${job.nth} was cancelled, and the signal of its work has not aborted`);
      }
      const isCalm = facts.isCalm('serverUntil', 'networkUntil', 'processUntil', 'dataLostAt');
      if (doJobsWait && isCalm && facts.now - cancel.at > QUICK_MS) {
        facts.violate(5, `job ${job.nth} was cancelled, and begins its work all the same`);
      }
    },
  };
}
