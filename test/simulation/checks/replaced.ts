/** 5. `'replace'`: the signal of the running job aborts when a newer one is parked. */

import { type Facts, isRun, type JobFacts } from '../facts.ts';
import type { Check } from './check.ts';

export function replaced(facts: Facts): Check {
  if (facts.options.whenLocked !== 'replace' || !facts.isOneVersion || facts.options.mode === 'observe')
    return {};
  /** When the jobs joined that have been parked for a key since it was granted last. */
  const joined = new Map<string, Map<JobFacts, number>>();
  /** A job that may not start once more is struck out, and fails. */
  const parkedSince = (storedKey: string): number => {
    const parked = [...(joined.get(storedKey) ?? [])].filter(([job]) => job.endedAt === undefined);
    return Math.min(...parked.map(([, at]) => at));
  };
  return {
    onRefused({ storedKey }, result, job) {
      if (!job || !('standing' in result) || result.standing?.is !== 'in-line') return;
      const jobs = joined.get(storedKey) ?? new Map<JobFacts, number>();
      joined.set(storedKey, jobs);
      if (!jobs.has(job)) jobs.set(job, facts.now);
    },
    onGranted({ step, isRepeated }) {
      if (!isRepeated) joined.delete(step.storedKey);
    },
    onLook(work) {
      // A caller is not replaced.
      if (!isRun(work)) return;
      const { job, abortedAt, startedAt, lock, hasReleased } = work;
      const since = Math.max(parkedSince(job.storedKey), startedAt);
      const isCalm = Object.values(facts.troubles).every(at => at === Number.NEGATIVE_INFINITY);
      if (
        abortedAt === undefined &&
        isCalm &&
        lock.isGuarded &&
        !hasReleased &&
        facts.now - since > QUICK_MS
      ) {
        facts.violate(5, `a newer job than job ${job.nth} is parked, and its signal has not aborted`);
      }
    },
  };
}

/** With notifications it takes two round trips. */
const QUICK_MS = 100;
