/** 1. Never more than `concurrency` leases of a key, and never more runs that believe in theirs. */

import { type Facts, isRun, type Work } from '../facts.ts';
import { CANCELLED } from '../worker-model.ts';
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
      const isAtWork = [...facts.activeWork].some(work => work.owner === owner && !work.hasReleased);
      if (state !== 'held' || !job || job.endedAt !== undefined || !isAtWork) return;
      // A run that BullMQ started anew frees what its older one has.
      if (job.handouts.length > 1) return;
      facts.violate(1, `the key is taken by force from job ${job.nth}, which is at work`);
    },
    onWork(work) {
      if (!work.lock.isGuarded || work.signal.aborted || isObserved(facts, work)) return;
      // What it was granted may have been taken from it while its process stood still.
      if (wasTaken(facts, work)) return;
      const others = [...facts.activeWork].filter(other => other !== work && believes(facts, other, work));
      if (others.length < facts.concurrency) return;
      const names = others.map(({ name }) => name).join(', ');
      facts.violate(1, `${work.name} runs beside ${names}, whose signal has not aborted`);
    },
  };
}

/** Work that still holds its lock as far as it can know, and whose lease was not taken from it. */
function believes(facts: Facts, other: Work, work: Work): boolean {
  if (other.storedKey !== work.storedKey || !other.lock.isGuarded || other.hasReleased) return false;
  if (isObserved(facts, other)) return false;
  if (other.abortedAt !== undefined && !isAsked(other)) return false;
  // It can't know while it stands still, and it knows as soon as it goes on.
  if (!other.process.isAlive || other.process.isFrozen) return false;
  return !wasTaken(facts, other);
}

/** Observed runs are run whatever the key's state. */
function isObserved(facts: Facts, work: Work): boolean {
  return isRun(work) && facts.options.mode === 'observe';
}

/** It was asked to end, and holds its lock. */
function isAsked({ signal, lock }: Work): boolean {
  return (signal.reason?.reason === 'replaced' || signal.reason === CANCELLED) && lock.held;
}

/** Its lease was ended by someone else, or by a clock that jumped: it learns of that by its next renewal. */
export function wasTaken(facts: Facts, { lock, owner }: Work): boolean {
  for (const lease of facts.leases.values()) {
    if (lease.fence !== lock.fence || lease.owner !== owner) continue;
    const { end, grantedAt } = lease;
    const { serverJumpedAt, dataLostAt } = facts.troubles;
    if (Math.max(serverJumpedAt, dataLostAt) >= grantedAt) return true;
    return end === 'reclaimed' || end === 'forced' || end === 'lost';
  }
  return true;
}
