/** 8. A duplicate becomes what its strategy says, and work that was done is no reason to fail. */

import type { Facts, JobFacts } from '../facts.ts';
import type { WhenLockedPlan } from '../plan.ts';
import type { Check } from './check.ts';

const OUTCOMES = ['skipped', 'raised', 'delayed', 'parked', 'handled', 'shared', 'mismatched'];

export function outcomes(facts: Facts): Check {
  const { mode } = facts.options;
  const delays = new Map<JobFacts, number>();
  function isOfOtherAmount(job: JobFacts, holder: string | undefined): boolean {
    const other = holder === undefined ? undefined : facts.byOwner.get(holder);
    return facts.options.match !== undefined && other !== undefined && other.amount !== job.amount;
  }
  return {
    onEvent(event, job, { whenLocked, raiseIfLock = false }) {
      if (!job || !OUTCOMES.includes(event.type) || !('holder' in event)) return;
      const { type, holder } = event;
      if (mode === 'observe') {
        if (!event.observed) facts.violate(8, `job ${job.nth} is ${type}, and was to be observed`);
        return;
      }
      const isOwn = holder?.owner === job.owner;
      // Another run of the same job holds the key. A server that took over counts its runs anew.
      const mayBe = [
        // One that runs again after its work was done completes with its own result.
        ...(isOwn ? ['skipped', 'raised', ...(facts.dedupeFor > 0 ? ['shared'] : [])] : []),
        ...(isOwn && facts.isCalm('dataLostAt') ? [] : outcomesOf(whenLocked, raiseIfLock)),
        ...(isOfOtherAmount(job, holder?.owner) ? ['mismatched'] : []),
      ];
      if (!mayBe.includes(type)) facts.violate(8, `job ${job.nth} is ${type}`);
      // Whose turn it is in a line is told without its match.
      const isToFail = holder?.match !== undefined && !isOwn && isOfOtherAmount(job, holder.owner);
      if (isToFail && type !== 'mismatched') {
        facts.violate(8, `job ${job.nth} is ${type}, and the key is held for other data`);
      }
      if (whenLocked === 'raise' && type === 'raised' && holder?.state === 'done') {
        facts.violate(8, `job ${job.nth} is raised, and the work is done`);
      }
      if (type !== 'delayed') return;
      const times = (delays.get(job) ?? 0) + 1;
      delays.set(job, times);
      const limit = typeof whenLocked === 'object' && 'limit' in whenLocked ? whenLocked.limit : undefined;
      // An operator's retry, a stalled run and a lost answer count otherwise.
      const isCalm = facts.isCalm('operatorAt', 'processUntil', 'networkUntil', 'dataLostAt', 'serverUntil');
      if (limit !== undefined && times > limit && isCalm) {
        facts.violate(8, `job ${job.nth} is delayed ${times} times, and may be ${limit} times`);
      }
    },
    onProcessed(job, model) {
      if (mode !== 'observe' || job.runs.some(run => run.model === model)) return;
      facts.violate(9, `job ${job.nth} has not run, and the guard only observes`);
    },
  };
}

function outcomesOf(whenLocked: WhenLockedPlan, raiseIfLock: boolean): readonly string[] {
  if (whenLocked === 'skip') return ['skipped'];
  if (whenLocked === 'raise') return ['raised', 'skipped'];
  if (whenLocked === 'callback') return ['handled'];
  // A job that may not start again is not parked.
  if (whenLocked === 'in-order') return ['parked', 'raised'];
  if (whenLocked === 'share') return ['parked', 'shared', 'raised'];
  if (whenLocked === 'keep-last' || whenLocked === 'replace') return ['parked', 'skipped', 'raised'];
  if ('waitFor' in whenLocked) return raiseIfLock ? ['raised'] : ['skipped'];
  return ['delayed', 'raised'];
}
