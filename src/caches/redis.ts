/**
 * Keeps leases in Redis (also Valkey, KeyDB, Dragonfly): one key a lock, one script call a batch, the server's
 * clock. Keeps all promises against one server; a fail-over that loses writes loses locks with them.
 */

import { asError } from '../errors.ts';
import type { Answers, Batch, Claim, Holder, Lease, LockCache, Verdict } from './cache.ts';
import { type RedisClient, type ScriptRunner, scriptRunner } from './redis-client.ts';
import { EXCHANGE_LUA, INSPECT_LUA } from './redis-script.ts';
import { holderFrom, readReply, writeBatch } from './redis-wire.ts';

/**
 * A cache on a Redis connection of the user's, which stays the user's to configure and to close.
 *
 * Give it a connection that does not block (no BLPOP and the like). A connection to a cluster works: it is asked
 * key by key.
 *
 * @example
 * ```ts
 * const redis = new Redis();
 * caches.default = new RedisCache(redis);
 * ```
 */
export class RedisCache implements LockCache {
  readonly #exchange: ScriptRunner;
  readonly #inspect: ScriptRunner;

  /**
   * @param client - an ioredis or node-redis client, or one of BullMQ's wrapped clients.
   * @throws TypeError it is none of them.
   */
  constructor(client: RedisClient) {
    this.#exchange = scriptRunner(client, EXCHANGE_LUA);
    this.#inspect = scriptRunner(client, INSPECT_LUA);
  }

  async acquire(claims: readonly Claim[]): Promise<readonly (Verdict | Error)[]> {
    return (await this.exchange({ claims, renewals: [], releases: [] })).claimed;
  }

  async renew(leases: readonly Lease[]): Promise<readonly (boolean | Error)[]> {
    return (await this.exchange({ claims: [], renewals: leases, releases: [] })).renewed;
  }

  async release(leases: readonly Lease[]): Promise<readonly (boolean | Error)[]> {
    return (await this.exchange({ claims: [], renewals: [], releases: leases })).released;
  }

  async inspect(keys: readonly string[]): Promise<(Holder | undefined)[]> {
    const parts = [...chunks(keys, this.#inspect.mostKeys)];
    const answers = await Promise.all(parts.map(some => this.#inspect.run(some, [some.length])));
    return (answers as (readonly [string, number] | 0)[][])
      .flat()
      .map((answer, i) => (answer === 0 ? undefined : holderFrom(keys[i] as string, ...answer)));
  }

  /** Sends the whole batch before it returns its promise, in as many calls as it takes. */
  async exchange(batch: Batch): Promise<Answers> {
    const parts = cut(batch, this.#exchange.mostKeys);
    if (parts.length === 1) return this.#send(batch);
    const answers = await Promise.all(parts.map(part => this.#send(part)));
    return {
      released: answers.flatMap(({ released }) => released),
      renewed: answers.flatMap(({ renewed }) => renewed),
      claimed: answers.flatMap(({ claimed }) => claimed),
    };
  }

  /** One call of the script. Where it fails, so has each of its steps, and none of the other calls'. */
  async #send(batch: Batch): Promise<Answers> {
    const { keys, args } = writeBatch(batch);
    try {
      return readReply(await this.#exchange.run(keys, args), batch);
    } catch (error) {
      const failed = () => asError(error);
      return {
        released: batch.releases.map(failed),
        renewed: batch.renewals.map(failed),
        claimed: batch.claims.map(failed),
      };
    }
  }
}

/** Cuts a batch into calls of at most `most` steps, in the order releases, renewals, claims. */
function cut(batch: Batch, most: number): Batch[] {
  const { releases, renewals, claims } = batch;
  if (releases.length + renewals.length + claims.length <= most) return [batch];
  const parts: Batch[] = [];
  for (const some of chunks(releases, most)) parts.push({ releases: some, renewals: [], claims: [] });
  for (const some of chunks(renewals, most)) parts.push({ releases: [], renewals: some, claims: [] });
  for (const some of chunks(claims, most)) parts.push({ releases: [], renewals: [], claims: some });
  return parts;
}

function* chunks<Step>(steps: readonly Step[], most: number): Iterable<readonly Step[]> {
  for (let i = 0; i < steps.length; i += most) yield steps.slice(i, i + most);
}
