/** 5. `'replace'`: the signal of the running job aborts when a newer one is parked. */

import { type Facts, isRun } from '../facts.ts';
import type { Check } from './check.ts';

export function replaced(facts: Facts): Check {
  if (facts.options.whenLocked !== 'replace' || !facts.isOneVersion || facts.options.mode === 'observe')
    return {};
  const parkedSince = new Map<string, number>();
  return {
    onRefused({ storedKey }, result) {
      if (!('standing' in result) || result.standing?.is !== 'in-line') return;
      if (!parkedSince.has(storedKey)) parkedSince.set(storedKey, facts.now);
    },
    onGranted({ step, isRepeated }) {
      if (!isRepeated) parkedSince.delete(step.storedKey);
    },
    onLook(work) {
      // A caller is not replaced.
      if (!isRun(work)) return;
      const { job, abortedAt, startedAt, lock, hasReleased } = work;
      const since = Math.max(parkedSince.get(job.storedKey) ?? Number.POSITIVE_INFINITY, startedAt);
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
