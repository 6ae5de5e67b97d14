/** What tests ask of a cache. */

import { randomUUID } from 'node:crypto';
import type { Claim, Lease, LockCache, Verdict } from '../../src/caches/cache.ts';

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

/** The verdict on one claim; throws where there is none. */
export async function acquire(cache: LockCache, one: Claim): Promise<Verdict> {
  const [verdict] = await cache.acquire([one]);
  if (verdict instanceof Error) throw verdict;
  return verdict as Verdict;
}
