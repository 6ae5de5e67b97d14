/** 3. Nobody is refused for a lease that has ended. */

import type { Facts } from '../facts.ts';
import type { Check } from './check.ts';

/** A renewal may have been sent just before, and clocks differ. In ms. */
const LATE_MS = 100;

export function crashBlocksForTtl(facts: Facts): Check {
  const { maxHold = Number.POSITIVE_INFINITY } = facts.options;
  return {
    onRenewed(_step, lease) {
      if (
        !lease ||
        facts.now - lease.grantedAt < maxHold + LATE_MS ||
        !facts.isCalm('networkUntil', 'serverUntil', 'processUntil')
      )
        return;
      facts.violate(3, `the lease of ${facts.nameOf(lease.owner)} is renewed though maxHold is over`);
    },
    onRefused({ storedKey, owner }, { record }) {
      if (!record || record.state === 'parked' || (record.state === 'done' && record.fence === 0)) return;
      const lease = facts.leasesOf(storedKey).find(({ fence }) => fence === record.fence);
      if (!lease) {
        facts.violate(
          3,
          `${facts.nameOf(owner)} is refused for a lease of ${facts.nameOf(record.owner)} that has ended`,
        );
      } else if (lease.state === 'held' && record.expiresIn > lease.ttl && facts.isCalm('serverJumpedAt')) {
        facts.violate(
          3,
          `the lease of ${facts.nameOf(record.owner)} lasts for ${record.expiresIn} ms, not ${lease.ttl}`,
        );
      }
    },
  };
}
