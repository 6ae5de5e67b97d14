/** What a cache has from doing all three verbs in one exchange. */

import type { Answers, Batch, Claim, Holder, Lease, LockCache, Verdict } from '../contract.ts';

export abstract class ExchangeCache implements LockCache {
  abstract exchange(batch: Batch): Promise<Answers>;
  abstract inspect(keys: readonly string[]): Promise<(Holder | undefined)[]>;

  async acquire(claims: readonly Claim[]): Promise<readonly (Verdict | Error)[]> {
    return (await this.exchange({ claims, renewals: [], releases: [] })).claimed;
  }

  async renew(leases: readonly Lease[]): Promise<readonly (boolean | Error)[]> {
    return (await this.exchange({ claims: [], renewals: leases, releases: [] })).renewed;
  }

  async release(leases: readonly Lease[]): Promise<readonly (boolean | Error)[]> {
    return (await this.exchange({ claims: [], renewals: [], releases: leases })).released;
  }
}
