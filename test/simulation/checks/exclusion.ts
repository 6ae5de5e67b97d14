/** 1. Never more than `concurrency` leases of a key, and never more runs that believe in theirs. */

import type { Facts, Run } from '../facts.ts';
import type { Check } from './check.ts';

export function exclusion(facts: Facts): Check {
  return {
    onGranted({ step, before, isRepeated, result }) {
      if (isRepeated) return;
      const others = before.filter(({ owner }) => owner !== step.owner);
      const own = before.length - others.length;
      if (others.length >= facts.concurrency || own > 1) {
        const names = before.map(({ owner, state }) => `${facts.nameOf(owner)} (${state})`).join(', ');
        const isReserved = others.some(({ state }) => state === 'reserved');
        facts.violate(
          isReserved ? 11 : 1,
          `${facts.nameOf(step.owner)} is granted the key that is held by ${names}`,
        );
      }
      if (
        own === 1 &&
        !result.reclaimed &&
        before.some(one => one.owner === step.owner && one.state === 'held')
      ) {
        facts.violate(1, `${facts.nameOf(step.owner)} holds the key already, and is granted it again`);
      }
    },
    onFreed({ owner, state }) {
      const job = facts.byOwner.get(owner);
      const isAtWork = [...facts.activeRuns].some(run => run.job === job && !run.hasReleased);
      if (state !== 'held' || !job || job.endedAt !== undefined || !isAtWork) return;
      // A run that BullMQ started anew frees what its older one has.
      if (job.handouts.length > 1) return;
      facts.violate(1, `the key is taken by force from job ${job.nth}, which is at work`);
    },
    onStarted(run) {
      if (!run.lock.isGuarded || run.signal.aborted || facts.options.mode === 'observe') return;
      // What it was granted may have been taken from it while its process stood still.
      if (wasTaken(facts, run)) return;
      const others = [...facts.activeRuns].filter(other => other !== run && believes(facts, other, run));
      if (others.length < facts.concurrency) return;
      const names = others.map(({ job }) => `job ${job.nth}`).join(', ');
      facts.violate(1, `job ${run.job.nth} runs beside ${names}, whose signal has not aborted`);
    },
  };
}

/** A run that still holds its lock as far as it can know, and whose lease was not taken from it. */
function believes(facts: Facts, other: Run, run: Run): boolean {
  if (other.job.storedKey !== run.job.storedKey || !other.lock.isGuarded || other.hasReleased) return false;
  if (other.abortedAt !== undefined && !isReplaced(other)) return false;
  // It can't know while it stands still, and it knows as soon as it goes on.
  if (!other.process.isAlive || other.process.isFrozen) return false;
  return !wasTaken(facts, other);
}

function isReplaced(run: Run): boolean {
  return run.signal.reason?.reason === 'replaced' && run.lock.held;
}

/** Its lease was ended by someone else, or by a clock that jumped: it learns of that by its next renewal. */
export function wasTaken(facts: Facts, { lock, job }: Run): boolean {
  for (const lease of facts.leases.values()) {
    if (lease.fence !== lock.fence || lease.owner !== job.owner) continue;
    const { end, grantedAt } = lease;
    const { serverJumpedAt, dataLostAt } = facts.troubles;
    if (Math.max(serverJumpedAt, dataLostAt) >= grantedAt) return true;
    return end === 'reclaimed' || end === 'forced' || end === 'lost';
  }
  return true;
}
