/**
 * 4. A job is never a duplicate of itself: it reclaims the lease of its older run, and does not repeat work that was done. Nor is the owner
 * that a `Lock` names refused for a lease of its own.
 */

import { type Facts, type Lease, runUnder } from '../facts.ts';
import type { Check } from './check.ts';

export function ownLease(facts: Facts): Check {
  return {
    onRefused({ storedKey, owner, attempt }) {
      const isOlder = (lease: Lease) => lease.attempt < attempt || (lease.attempt === 0 && attempt === 0);
      const own = facts.leasesOf(storedKey).find(lease => lease.owner === owner && isOlder(lease));
      if (!own || own.state === 'done') return;
      facts.violate(4, `${facts.nameOf(owner)} is refused, though its older run has the key (${own.state})`);
    },
    onEvent(event, job) {
      if (event.type !== 'skipped' && event.type !== 'delayed' && event.type !== 'parked') return;
      const { holder, observed } = event;
      if (observed || !job || holder?.owner !== job.owner || holder.state === 'done') return;
      // A server that took over counts the job's runs anew.
      if (!facts.isCalm('dataLostAt')) return;
      facts.violate(4, `job ${job.nth} is ${event.type} because of itself`);
    },
    onReleased({ dedupeFor, reservation, token }, lease) {
      const run = runUnder(lease, facts);
      if (!facts.isCalm('dataLostAt')) return;
      const isOver = run?.outcome !== undefined && 'value' in run.outcome && !run.hasReleased;
      if (!isOver || !facts.isOneVersion || dedupeFor === facts.dedupeFor || reservation) return;
      facts.violate(
        4,
        `the work of ${facts.nameOf(lease?.owner ?? token)} is done, and its key is not kept as done`,
      );
    },
    onStarted({ job, lock, attempt }) {
      // A guard that only observes lets BullMQ do as it would.
      if (!lock.isGuarded || facts.options.mode === 'observe') return;
      // When the server's clock jumps ahead, BullMQ's own lock of a job that waits for its key ends.
      if (job.end === 'completed' && facts.isCalm('dataLostAt', 'serverJumpedAt'))
        facts.violate(4, `job ${job.nth} runs again after it has completed`);
      const done = facts.leasesOf(job.storedKey).find(one => one.owner === job.owner && one.state === 'done');
      if (done && done.attempt < attempt)
        facts.violate(4, `job ${job.nth} runs again though its work is done`);
    },
  };
}
