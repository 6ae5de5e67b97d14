/** 2. Renewals and releases are confirmed only to those who hold the key. */

import type { Facts, Lease } from '../facts.ts';
import type { Check } from './check.ts';

export function onlyTheHolder(facts: Facts): Check {
  function check(verb: string, token: string, lease: Lease | undefined): void {
    if (lease?.state === 'held') return;
    const who = lease ? `${facts.nameOf(lease.owner)}, whose lease is ${lease.end ?? lease.state}` : token;
    facts.violate(2, `the ${verb} of ${who} is confirmed`);
  }
  return {
    onRenewed: ({ token }, lease) => check('renewal', token, lease),
    onReleased: ({ token }, lease) => check('release', token, lease),
  };
}
