/** Locks as they are often written by hand: looked up, then set, and deleted by anyone. The checker must find what is wrong. */

import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { ExchangeCache } from '../../src/cache/batching/exchange.ts';
import type {
  AcquireResult,
  AcquireStep,
  Batch,
  BatchResults,
  LockCache,
  LockRecord,
} from '../../src/cache/contract.ts';

export class CarelessCache extends ExchangeCache implements LockCache {
  readonly #redis: Redis;

  constructor(port: number) {
    super();
    this.#redis = new Redis({ port, maxRetriesPerRequest: null });
    this.#redis.on('error', () => {});
  }

  async exchange({ acquisitions, renewals, releases }: Batch): Promise<BatchResults> {
    const released = await Promise.all(
      releases.map(async ({ storedKey }) => (await this.#redis.del(storedKey)) === 1),
    );
    const renewed = await Promise.all(
      renewals.map(async ({ storedKey, ttl }) => (await this.#redis.pexpire(storedKey, ttl)) === 1),
    );
    const acquired = await Promise.all(acquisitions.map(step => this.#acquire(step)));
    return { released, renewed, acquired };
  }

  inspect(storedKeys: readonly string[]): Promise<(LockRecord | undefined)[]> {
    return Promise.all(storedKeys.map(storedKey => this.#record(storedKey)));
  }

  close(): void {
    this.#redis.disconnect();
  }

  async #acquire({ storedKey, owner, attempt, ttl }: AcquireStep): Promise<AcquireResult> {
    const record = await this.#record(storedKey);
    if (record) return { acquired: false, record };
    // It takes this long now and then; here it does each time.
    await delay(20);
    const fence = Date.now();
    await this.#redis.set(storedKey, JSON.stringify({ owner, attempt, fence }), 'PX', ttl);
    return { acquired: true, fence, reclaimed: false };
  }

  async #record(storedKey: string): Promise<LockRecord | undefined> {
    const stored = await this.#redis.get(storedKey);
    if (!stored) return undefined;
    return { storedKey, state: 'running', since: 0, expiresIn: 0, ...JSON.parse(stored) };
  }
}
