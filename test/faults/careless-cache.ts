/** Locks as they are often written by hand: looked up, then set; let go of by whoever ends. For the checker to find. */

import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import type { Answers, Batch, Claim, Holder, LockCache, Verdict } from '../../src/cache/contract.ts';
import { ExchangeCache } from '../../src/cache/batching/exchange.ts';

export class CarelessCache extends ExchangeCache implements LockCache {
  readonly #redis: Redis;

  constructor(port: number) {
    super();
    this.#redis = new Redis({ port, maxRetriesPerRequest: null });
    this.#redis.on('error', () => {});
  }

  async exchange({ claims, renewals, releases }: Batch): Promise<Answers> {
    const released = await Promise.all(releases.map(async ({ key }) => (await this.#redis.del(key)) === 1));
    const renewed = await Promise.all(
      renewals.map(async ({ key, ttl }) => (await this.#redis.pexpire(key, ttl)) === 1),
    );
    return { released, renewed, claimed: await Promise.all(claims.map(claim => this.#claim(claim))) };
  }

  inspect(keys: readonly string[]): Promise<(Holder | undefined)[]> {
    return Promise.all(keys.map(key => this.#holder(key)));
  }

  close(): void {
    this.#redis.disconnect();
  }

  async #claim({ key, owner, attempt, ttl }: Claim): Promise<Verdict> {
    const holder = await this.#holder(key);
    if (holder) return { taken: false, holder };
    // So long it takes now and then; here it does each time.
    await delay(20);
    const fence = Date.now();
    await this.#redis.set(key, JSON.stringify({ owner, attempt, fence }), 'PX', ttl);
    return { taken: true, fence, tookOver: false };
  }

  async #holder(key: string): Promise<Holder | undefined> {
    const stored = await this.#redis.get(key);
    return stored ? { key, state: 'running', since: 0, expiresIn: 0, ...JSON.parse(stored) } : undefined;
  }
}
