/** 5. Work that looks at its lock never sees it held when it can have ended, and its signal aborts in time. */

import { type Facts, isRun, type Lease, type Work } from '../facts.ts';
import type { Check } from './check.ts';

/** A timer may be late by so much, in ms. */
const TIMER_MS = 5;
/** A renewal is answered within this time, in ms. */
const ANSWER_MS = 50;

export function knowsInTime(facts: Facts): Check {
  /** The last one: after a loss of data and a clock that was set back a fence may come again. */
  function leaseOf({ lock, owner }: Work): Lease | undefined {
    return [...facts.leases.values()].findLast(lease => lease.fence === lock.fence && lease.owner === owner);
  }
  return {
    onEvent(event, job) {
      if (event.type !== 'lost' || (event.reason !== 'expired' && event.reason !== 'unreachable')) return;
      const isCalm = Object.values(facts.troubles).every(at => at === Number.NEGATIVE_INFINITY);
      if (isCalm)
        facts.violate(5, `the lock of job ${job?.nth} is lost (${event.reason}), and nothing was broken`);
    },
    onLook(work) {
      const { lock, signal, name, storedKey } = work;
      const isObserved = isRun(work) && facts.options.mode === 'observe';
      if (!lock.isGuarded || work.hasReleased || isObserved) return;
      const lease = leaseOf(work);
      if (!lease) return;
      facts.leasesOf(storedKey);
      const hasAbortedByItself = work.abortedAt !== undefined;
      const { held } = lock;
      if (held && lease.state === 'over' && lease.end === 'expired' && !isExcused(facts, lease)) {
        facts.violate(5, `${name} sees its lock held, and its lease has expired`);
      }
      const revokedFor = facts.now - lease.endedAt;
      const isRevoked = lease.end === 'reclaimed' || lease.end === 'forced' || lease.end === 'lost';
      if (held && lease.state === 'over' && isRevoked && revokedFor > inTime(facts, lease)) {
        facts.violate(5, `${name} sees its lock held, and it was ${lease.end} ${revokedFor} ms ago`);
      }
      if (!held && !signal.aborted) {
        facts.violate(5, `${name} sees its lock lost, and its signal is not aborted`);
      }
      const isLate = lease.end === 'expired' && facts.now - lease.endedAt > TIMER_MS;
      if (isLate && !hasAbortedByItself && !wasStill(work, lease) && !isExcused(facts, lease)) {
        facts.violate(5, `the signal of ${name} has emitted nothing, and its lease has expired`);
      }
    },
  };
}

/** How long a lease may be believed to be held that was revoked: until its next renewal is refused. In ms. */
function inTime(facts: Facts, { ttl }: Lease): number {
  const isCalm = facts.isCalm('networkUntil', 'processUntil', 'serverUntil', 'dataLostAt');
  return isCalm ? ttl / 3 + ANSWER_MS : ttl;
}

/** The server's clock jumped, or an older state of the lease came back, while the lease was held. */
function isExcused(facts: Facts, { grantedAt, endedAt }: Lease): boolean {
  const { serverJumpedAt, dataLostAt } = facts.troubles;
  return [serverJumpedAt, dataLostAt].some(at => at >= grantedAt && at <= endedAt);
}

/** Its process stood still, so that no timer could run. */
function wasStill({ process }: Work, { endedAt }: Lease): boolean {
  return process.frozenUntil >= endedAt - TIMER_MS;
}
