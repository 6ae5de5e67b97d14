/** The terms on which tests of the renewer acquire a lease. */

import { Emitter } from '../../src/events/emitter.ts';
import type { LeaseTerms } from '../../src/lock/lease-terms.ts';

/** Nobody listens to the events of such a lease. */
export function leaseTerms(given: Partial<LeaseTerms> = {}): LeaseTerms {
  return {
    storedKey: 'k',
    key: 'k',
    owner: 'me',
    attempt: 0,
    ttl: 1000,
    maxHold: Number.POSITIVE_INFINITY,
    requestedAt: 0,
    emitter: new Emitter(),
    failsOpen: false,
    queueName: undefined,
    jobId: undefined,
    ...given,
  };
}
