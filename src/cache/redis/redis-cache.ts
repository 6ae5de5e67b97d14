/**
 * Keeps leases in Redis (also Valkey, KeyDB, Dragonfly): one key a lock, one script call a batch, the server's
 * clock. Keeps all promises against one server; a fail-over that loses writes loses locks with them.
 */

import { asError } from '../../core/errors.ts';
import { isLockName } from '../../key/stored-name.ts';
import type { Answers, Arrival, Batch, Holder, Newest, Watch } from '../contract.ts';
import { ExchangeCache } from '../batching/exchange.ts';
import { allFailed, cut, exchangeInParts, fits, join, type Limits } from '../batching/split.ts';
import {
  isCluster,
  MOST_KEYS,
  mastersOf,
  type RedisClient,
  type ScriptRunner,
  scriptRunner,
} from './client.ts';
import { ANNOUNCE_LUA, EVICT_LUA, EXCHANGE_LUA, INSPECT_LUA, SCAN_LUA } from './scripts.ts';
import { redisSubscriber } from './subscriber.ts';
import { holderFrom, readNewest, readReply, writeArrivals, writeBatch } from './protocol.ts';
import type { Subscriber } from '../notify/subscriber.ts';

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
  readonly #announce: ScriptRunner;
  readonly #scan: ScriptRunner;
  readonly #evict: ScriptRunner;
  readonly #client: RedisClient;
  readonly #subscriber: Subscriber;
  #limits: Limits;

  /**
   * @param client - an ioredis, node-redis or Valkey GLIDE client, or one of BullMQ's wrapped clients.
   * @throws TypeError it is none of them, or an ioredis client with a `keyPrefix`.
   */
  constructor(client: RedisClient) {
    super();
    this.#exchange = scriptRunner(client, EXCHANGE_LUA);
    this.#inspect = scriptRunner(client, INSPECT_LUA);
    this.#announce = scriptRunner(client, ANNOUNCE_LUA);
    this.#scan = scriptRunner(client, SCAN_LUA);
    this.#evict = scriptRunner(client, EVICT_LUA);
    this.#client = client;
    this.#subscriber = redisSubscriber(client);
    this.#limits = isCluster(client) ? IN_A_CLUSTER : ON_ONE_SERVER;
  }

  async inspect(keys: readonly string[]): Promise<(Holder | undefined)[]> {
    const found = await this.#inParts(
      keys,
      key => key,
      async some => (await this.#inspect.run(some, [some.length])) as Stored[],
    );
    return found.map((stored, i) => (stored === 0 ? undefined : holderFrom(keys[i] as string, ...stored)));
  }

  announce(arrivals: readonly Arrival[]): Promise<(Newest | Error)[]> {
    return this.#inParts(
      arrivals,
      ({ key }) => key,
      async some => {
        const { keys, args } = writeArrivals(some);
        return readNewest(await this.#announce.run(keys, args));
      },
    );
  }

  async *list(prefix: string): AsyncIterable<Holder> {
    for (const scan of await this.#scansOf(prefix)) {
      let cursor = '0';
      do {
        const [next, names] = await scan([cursor, `${escapeGlob(prefix)}*`, MOST_SCANNED]);
        cursor = String(next);
        const keys = names.map(String).filter(isLockName);
        for (const holder of keys.length > 0 ? await this.inspect(keys) : []) if (holder) yield holder;
      } while (cursor !== '0');
    }
  }

  async evict(keys: readonly string[]): Promise<boolean[]> {
    const answers = await this.#inParts(
      keys,
      key => key,
      async some => (await this.#evict.run(some, [some.length])) as number[],
    );
    return answers.map(answer => answer === 1);
  }

  /** A cluster's keys of one hash tag are on one server. */
  async #scansOf(prefix: string): Promise<((args: (string | number)[]) => Promise<Scanned>)[]> {
    if (this.#limits !== IN_A_CLUSTER || hashTag(prefix) !== prefix) {
      return [args => this.#scan.run([prefix], args) as Promise<Scanned>];
    }
    const servers = await mastersOf(this.#client);
    return servers.map(run => args => run(SCAN_LUA, args) as Promise<Scanned>);
  }

  /** Listens on one connection more, which is there as long as anyone waits. */
  watch(key: string, tell: () => void): Watch {
    return this.#subscriber.watch(key, tell);
  }

  async #inParts<Item, Answer>(
    items: readonly Item[],
    keyOf: (item: Item) => string,
    ask: (some: readonly Item[]) => Promise<Answer[]>,
  ): Promise<Answer[]> {
    const limits = this.#limits;
    const parts = cut(items, keyOf, limits);
    try {
      return join(parts, await Promise.all(parts.map(({ items }) => ask(items))));
    } catch (error) {
      if (!this.#refusedByCluster(error, limits)) throw error;
      return this.#inParts(items, keyOf, ask);
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
type Scanned = readonly [cursor: string, names: readonly string[]];

/** So many names are looked at in one go: a server does nothing else meanwhile. */
const MOST_SCANNED = 500;

/** A text that a pattern matches as it is. */
function escapeGlob(text: string): string {
  return text.replace(/[\\*?[\]]/g, '\\$&');
}

/**
 * The part of a key that decides its slot in a cluster: what stands in its first braces, else all of it.
 * @see https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags
 */
function hashTag(key: string): string {
  const open = key.indexOf('{');
  const close = open < 0 ? -1 : key.indexOf('}', open);
  return close > open + 1 ? key.slice(open + 1, close) : key;
}
