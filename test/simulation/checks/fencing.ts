/** 7. The fence of a key rises with every acquisition. */

import type { Facts } from '../facts.ts';
import type { Check } from './check.ts';

export function fencing(facts: Facts): Check {
  const highest = new Map<string, number>();
  return {
    onGranted({ step, result, isRepeated, before }) {
      const last = highest.get(step.storedKey) ?? 0;
      const { serverJumpedAt, dataLostAt } = facts.troubles;
      const [wasSetBack, wasLost] = [serverJumpedAt >= 0, dataLostAt >= 0];
      // A server whose clock was set back gives lower ones once the key is free; so may one that took over. One that did both knows of
      // no higher one.
      const isFree = before.length < facts.concurrency;
      const mayFall = (wasSetBack && wasLost) || ((wasSetBack || wasLost) && isFree);
      if (!isRepeated && !mayFall && result.fence <= last) {
        facts.violate(7, `${facts.nameOf(step.owner)} gets the fence ${result.fence}, not above ${last}`);
      }
      highest.set(step.storedKey, mayFall ? result.fence : Math.max(last, result.fence));
    },
  };
}
