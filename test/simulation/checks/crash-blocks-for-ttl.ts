/** 3. Nobody is refused for a lease that has ended. */

import type { Facts } from '../facts.ts';
import type { Check } from './check.ts';

export function crashBlocksForTtl(facts: Facts): Check {
  return {
    onRefused({ storedKey, owner }, { record }) {
      if (!record || record.state === 'parked' || (record.state === 'done' && record.fence === 0)) return;
      const lease = facts.leasesOf(storedKey).find(({ fence }) => fence === record.fence);
      if (!lease) {
        facts.violate(3, `${facts.nameOf(owner)} is refused for a lease of ${facts.nameOf(record.owner)} that has ended`);
      } else if (lease.state === 'held' && record.expiresIn > lease.ttl && facts.isCalm('serverJumpedAt')) {
        facts.violate(3, `the lease of ${facts.nameOf(record.owner)} lasts for ${record.expiresIn} ms, not ${lease.ttl}`);
      }
    },
  };
}
