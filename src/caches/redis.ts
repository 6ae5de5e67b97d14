/**
 * Keeps leases in Redis (also Valkey, KeyDB, Dragonfly): one key a lock, one script call a batch, the server's
 * clock. Keeps all promises against one server; a fail-over that loses writes loses locks with them.
 */

import { asError } from '../errors.ts';
import type { Answers, Batch, Holder } from './cache.ts';
import { ExchangeCache } from './exchange.ts';
import { allFailed, cut, exchangeInParts, fits, join, type Limits } from './parts.ts';
import { isCluster, MOST_KEYS, type RedisClient, type ScriptRunner, scriptRunner } from './redis-client.ts';
import { EXCHANGE_LUA, INSPECT_LUA } from './redis-script.ts';
import { holderFrom, readReply, writeBatch } from './redis-wire.ts';

const ON_ONE_SERVER: Limits = { most: MOST_KEYS };
/** A call's keys must share a slot, which those of one hash tag do. */
const IN_A_CLUSTER: Limits = { most: MOST_KEYS, groupOf: hashTag };

/**
 * A cache on a Redis connection of the user's, which stays the user's to configure and to close.
 *
 * Give it a connection that does not block (no BLPOP and the like). A connection to a cluster works: keys of one hash
 * tag travel together, others one by one.
 *
 * @example
 * ```ts
 * const redis = new Redis();
 * caches.default = new RedisCache(redis);
 * ```
 */
export class RedisCache extends ExchangeCache {
  readonly #exchange: ScriptRunner;
  readonly #inspect: ScriptRunner;
  #limits: Limits;

  /**
   * @param client - an ioredis, node-redis or Valkey GLIDE client, or one of BullMQ's wrapped clients.
   * @throws TypeError it is none of them, or an ioredis client with a `keyPrefix`.
   */
  constructor(client: RedisClient) {
    super();
    this.#exchange = scriptRunner(client, EXCHANGE_LUA);
    this.#inspect = scriptRunner(client, INSPECT_LUA);
    this.#limits = isCluster(client) ? IN_A_CLUSTER : ON_ONE_SERVER;
  }

  async inspect(keys: readonly string[]): Promise<(Holder | undefined)[]> {
    const limits = this.#limits;
    const parts = cut(keys, key => key, limits);
    try {
      const answers = parts.map(({ items }) => this.#inspect.run(items, [items.length]));
      const found = join(parts, (await Promise.all(answers)) as Stored[][]);
      return found.map((stored, i) => (stored === 0 ? undefined : holderFrom(keys[i] as string, ...stored)));
    } catch (error) {
      if (!this.#refusedByCluster(error, limits)) throw error;
      return this.inspect(keys);
    }
  }

  /** Sends the whole batch before it returns its promise, in as many calls as it takes. */
  exchange(batch: Batch): Promise<Answers> {
    const limits = this.#limits;
    if (fits(batch, limits)) return this.#send(batch, limits);
    return exchangeInParts(batch, limits, parts => Promise.all(parts.map(part => this.#send(part, limits))));
  }

  /** One call of the script. Where it fails, so has each of its steps, and none of the other calls'. */
  async #send(batch: Batch, limits: Limits): Promise<Answers> {
    const { keys, args } = writeBatch(batch);
    try {
      return readReply(await this.#exchange.run(keys, args), batch);
    } catch (error) {
      if (!this.#refusedByCluster(error, limits)) return allFailed(batch, asError(error));
      return this.exchange(batch);
    }
  }

  /**
   * Some clients and proxies do not tell that a cluster is behind them. It refuses a call of several slots before it
   * does any of it: then the call is to be cut, as are all that come.
   */
  #refusedByCluster(error: unknown, limits: Limits): boolean {
    if (limits === IN_A_CLUSTER || !asError(error).message.includes('CROSSSLOT')) return false;
    this.#limits = IN_A_CLUSTER;
    return true;
  }
}

type Stored = readonly [string, number] | 0;

/**
 * The part of a key that decides its slot in a cluster: what stands in its first braces, else all of it.
 * @see https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags
 */
function hashTag(key: string): string {
  const open = key.indexOf('{');
  const close = open < 0 ? -1 : key.indexOf('}', open);
  return close > open + 1 ? key.slice(open + 1, close) : key;
}
