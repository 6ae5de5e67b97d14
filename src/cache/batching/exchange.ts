/** The verbs of a cache that does a whole batch in one exchange, and such an exchange with a cache that can't. */

import { asError } from '../../core/errors.ts';
import type {
  AcquireResult,
  AcquireStep,
  Batch,
  BatchResults,
  LockCache,
  LockRecord,
  ReleaseStep,
  RenewStep,
} from '../contract.ts';

export abstract class ExchangeCache implements LockCache {
  abstract exchange(batch: Batch): Promise<BatchResults>;
  abstract inspect(storedKeys: readonly string[]): Promise<(LockRecord | undefined)[]>;

  async acquire(acquisitions: readonly AcquireStep[]): Promise<readonly (AcquireResult | Error)[]> {
    return (await this.exchange({ acquisitions, renewals: [], releases: [] })).acquired;
  }

  async renew(renewals: readonly RenewStep[]): Promise<readonly (boolean | Error)[]> {
    return (await this.exchange({ acquisitions: [], renewals, releases: [] })).renewed;
  }

  async release(releases: readonly ReleaseStep[]): Promise<readonly (boolean | Error)[]> {
    return (await this.exchange({ acquisitions: [], renewals: [], releases })).released;
  }
}

/** Does a batch in one exchange where the cache can, else verb by verb. One verb's failure is not the others'. */
export async function exchangeWith(cache: LockCache, batch: Batch): Promise<BatchResults> {
  if (cache.exchange) return await cache.exchange(batch);
  const [released, renewed, acquired] = await Promise.all([
    ask(batch.releases, steps => cache.release(steps)),
    ask(batch.renewals, steps => cache.renew(steps)),
    ask(batch.acquisitions, steps => cache.acquire(steps)),
  ]);
  return { released, renewed, acquired };
}

async function ask<Step, Answer>(
  steps: readonly Step[],
  verb: (steps: readonly Step[]) => Promise<readonly (Answer | Error)[]>,
): Promise<readonly (Answer | Error)[]> {
  if (steps.length === 0) return [];
  try {
    return await verb(steps);
  } catch (error) {
    return steps.map(() => asError(error));
  }
}
