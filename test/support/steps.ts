/** The steps that tests send to a cache. */

import { randomUUID } from 'node:crypto';
import type {
  AcquireResult,
  AcquireStep,
  LockCache,
  ReleaseStep,
  RenewStep,
} from '../../src/cache/contract.ts';

/** An acquisition of a key of its own, by an owner of its own. */
export function acquireStep(given: Partial<AcquireStep> = {}): AcquireStep {
  return {
    storedKey: `test:${randomUUID()}`,
    token: randomUUID(),
    owner: `owner ${randomUUID()}`,
    attempt: 0,
    ttl: 60_000,
    ...given,
  };
}

/** The renewal of what a step acquired. */
export function renewStep({ storedKey, token, ttl }: AcquireStep): RenewStep {
  return { storedKey, token, ttl };
}

/** The release of what a step acquired. */
export function releaseStep({ storedKey, token }: AcquireStep, dedupeFor = 0): ReleaseStep {
  return { storedKey, token, dedupeFor };
}

/** The result of one acquisition; throws where the cache has none. */
export async function acquire(cache: LockCache, step: AcquireStep): Promise<AcquireResult> {
  const [result] = await cache.acquire([step]);
  if (result instanceof Error) throw result;
  return result as AcquireResult;
}
