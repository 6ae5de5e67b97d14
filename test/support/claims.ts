/** What tests ask of a cache. */

import { randomUUID } from 'node:crypto';
import type { Claim, Lease, LockCache, Verdict } from '../../src/cache/contract.ts';
import { Teller } from '../../src/events/events.ts';
import type { LeaseRequest } from '../../src/lock/lease.ts';

export function claim(given: Partial<Claim> = {}): Claim {
  return {
    key: `test:${randomUUID()}`,
    token: randomUUID(),
    owner: `owner ${randomUUID()}`,
    attempt: 0,
    ttl: 60_000,
    ...given,
  };
}

export function lease({ key, token, ttl }: Claim, keepFor = 0): Lease {
  return { key, token, ttl, keepFor };
}

/** What is asked for of a keeper, by whom no event is told of. */
export function request(given: Partial<LeaseRequest> = {}): LeaseRequest {
  return {
    ...{ key: 'k', name: 'k', owner: 'me', attempt: 0, ttl: 1000, maxHold: Number.POSITIVE_INFINITY },
    ...{ since: 0, teller: new Teller(), runsAnyway: false, queueName: undefined, jobId: undefined },
    ...given,
  };
}

/** The verdict on one claim; throws where there is none. */
export async function acquire(cache: LockCache, one: Claim): Promise<Verdict> {
  const [verdict] = await cache.acquire([one]);
  if (verdict instanceof Error) throw verdict;
  return verdict as Verdict;
}
