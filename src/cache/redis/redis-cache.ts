/**
 * Keeps locks in Redis (also Valkey, KeyDB, Dragonfly): one key a lock, one script call a batch, the server's clock. Keeps all
 * guarantees on one server; a fail-over that loses writes loses locks with them.
 */

import { asError } from '../../core/errors.ts';
import { isLockName } from '../../key/stored-name.ts';
import { ExchangeCache } from '../batching/exchange.ts';
import { allFailed, exchangeInParts, fits, type Limits, reassemble, split } from '../batching/split.ts';
import type {
  Arrival,
  Batch,
  BatchResults,
  ForceReleaseStep,
  Listener,
  LockRecord,
  Newest,
} from '../contract.ts';
import type { Subscriber } from '../notify/subscriber.ts';
import { refused } from '../refusals.ts';
import {
  datastoreOf,
  isCluster,
  isErrorReply,
  MAX_KEYS,
  mastersOf,
  type RedisClient,
  type ScriptRunner,
  scriptRunner,
} from './client.ts';
import { LoneStep } from './lone-step.ts';
import {
  type InspectReply,
  readFreed,
  readInspected,
  readNewest,
  readReply,
  readScan,
  writeArrivals,
  writeBatch,
  writeForceReleases,
} from './protocol.ts';
import { ANNOUNCE_LUA, EXCHANGE_LUA, FORCE_RELEASE_LUA, INSPECT_LUA, SCAN_LUA } from './scripts.ts';
import { redisSubscriber } from './subscriber.ts';

const ON_ONE_SERVER: Limits = { maxSteps: MAX_KEYS };
/** The keys of one call must share a slot. Those of one hash tag do. */
const IN_A_CLUSTER: Limits = { maxSteps: MAX_KEYS, groupOf: hashTag };
/** While a slot moves from one server to another, a call of several of its keys may be refused; a call of one never is. */
const WHILE_A_SLOT_MOVES: Limits = { maxSteps: 1 };
/** How many names one scan looks at: the server does nothing else meanwhile. */
const SCAN_COUNT = 500;

/**
 * A cache on a Redis connection of yours, which stays yours to configure and to close.
 *
 * Give it a connection that does not block (no BLPOP and the like). A connection to a cluster works: keys of one hash tag
 * travel together, others one by one.
 *
 * @example
 * ```ts
 * const redis = new Redis();
 * caches.default = new RedisCache(redis);
 * ```
 */
export class RedisCache extends ExchangeCache {
  readonly #exchange: ScriptRunner;
  readonly #lone: LoneStep;
  readonly #inspect: ScriptRunner;
  readonly #announce: ScriptRunner;
  readonly #scan: ScriptRunner;
  readonly #forceRelease: ScriptRunner;
  readonly #client: RedisClient;
  readonly #subscriber: Subscriber;
  #limits: Limits;

  /**
   * @param client - an ioredis, node-redis, Valkey GLIDE or Bun client, or one of BullMQ's wrapped clients.
   * @throws TypeError it is none of them, or an ioredis client with a `keyPrefix`.
   */
  constructor(client: RedisClient) {
    super();
    this.#exchange = scriptRunner(client, EXCHANGE_LUA);
    this.#lone = new LoneStep(client);
    this.#inspect = scriptRunner(client, INSPECT_LUA);
    this.#announce = scriptRunner(client, ANNOUNCE_LUA);
    this.#scan = scriptRunner(client, SCAN_LUA);
    this.#forceRelease = scriptRunner(client, FORCE_RELEASE_LUA);
    this.#client = client;
    this.#subscriber = redisSubscriber(client);
    this.#limits = isCluster(client) ? IN_A_CLUSTER : ON_ONE_SERVER;
  }

  /** Asked each time: an ioredis client may select another database. */
  get datastore(): string | undefined {
    return datastoreOf(this.#client);
  }

  /** Sends the whole batch before it returns its promise, in as many calls as it takes. */
  exchange(batch: Batch): Promise<BatchResults> {
    return this.#exchangeWithin(this.#limits, batch);
  }

  async inspect(storedKeys: readonly string[]): Promise<(LockRecord | undefined)[]> {
    const found = await this.#inParts(
      storedKeys,
      storedKey => storedKey,
      async some => (await this.#inspect.run(some, [some.length])) as InspectReply[],
    );
    return found.map((reply, i) => readInspected(storedKeys[i] as string, reply));
  }

  forceRelease(steps: readonly ForceReleaseStep[]): Promise<boolean[]> {
    return this.#inParts(
      steps,
      ({ storedKey }) => storedKey,
      async some => {
        const { keys, args } = writeForceReleases(some);
        return readFreed(await this.#forceRelease.run(keys, args));
      },
    );
  }

  async *list(prefix: string, signal?: AbortSignal): AsyncIterable<LockRecord> {
    const isMeant = (name: string) => name.startsWith(prefix) && isLockName(name);
    for (const scan of await this.#scansFor(prefix)) {
      let cursor = '0';
      // SCAN may name a key more than once while the server's table changes its size.
      const seen = new Set<string>();
      do {
        if (signal?.aborted) return;
        const page = readScan(await scan([cursor, patternOf(prefix), SCAN_COUNT]));
        cursor = page.cursor;
        const storedKeys = page.names.filter(name => isMeant(name) && !seen.has(name));
        for (const storedKey of storedKeys) seen.add(storedKey);
        const records = storedKeys.length > 0 ? await this.inspect(storedKeys) : [];
        for (const record of records) if (record) yield record;
      } while (cursor !== '0');
    }
  }

  /** Uses one more connection, which is open as long as anyone waits. */
  listen(storedKey: string, onRelease: () => void): Listener {
    return this.#subscriber.listen(storedKey, onRelease);
  }

  announce(arrivals: readonly Arrival[]): Promise<(Newest | Error)[]> {
    return this.#inParts(
      arrivals,
      ({ storedKey }) => storedKey,
      async some => {
        const { keys, args } = writeArrivals(some);
        return readNewest(await this.#announce.run(keys, args));
      },
    );
  }

  /**
   * Runs a script on the cache's client. All keys are of one slot.
   * @internal
   */
  async runScript(lua: string, keys: readonly string[]): Promise<unknown> {
    return scriptRunner(this.#client, lua).run(keys, []);
  }

  #exchangeWithin(limits: Limits, batch: Batch): Promise<BatchResults> {
    if (fits(batch, limits)) return this.#send(batch, limits);
    return exchangeInParts(batch, limits, parts => Promise.all(parts.map(part => this.#send(part, limits))));
  }

  /** One call of the script. If it fails, each of its steps has failed, and none of other calls. */
  async #send(batch: Batch, limits: Limits): Promise<BatchResults> {
    try {
      const lone = this.#lone.send(batch);
      if (lone) return await lone;
      const { keys, args } = writeBatch(batch);
      return readReply(await this.#exchange.run(keys, args), batch);
    } catch (error) {
      const narrower = this.#limitsAfterRefusal(error, limits);
      if (narrower) return this.#exchangeWithin(narrower, batch);
      const problem = asError(error);
      return allFailed(batch, isErrorReply(problem) ? refused(problem) : problem);
    }
  }

  async #inParts<Item, Answer>(
    items: readonly Item[],
    keyOf: (item: Item) => string,
    ask: (some: readonly Item[]) => Promise<Answer[]>,
    limits: Limits = this.#limits,
  ): Promise<Answer[]> {
    const parts = split(items, keyOf, limits);
    try {
      return reassemble(parts, await Promise.all(parts.map(({ items }) => ask(items))));
    } catch (error) {
      const narrower = this.#limitsAfterRefusal(error, limits);
      if (!narrower) throw error;
      return this.#inParts(items, keyOf, ask, narrower);
    }
  }

  /** In a cluster, one scan for each server; the names of one hash tag are on one server. */
  async #scansFor(prefix: string): Promise<((args: (string | number)[]) => Promise<unknown>)[]> {
    if (this.#limits !== IN_A_CLUSTER || hashTag(prefix) !== prefix) {
      return [args => this.#scan.run([prefix], args)];
    }
    const servers = await mastersOf(this.#client);
    return servers.map(run => args => run(SCAN_LUA, args));
  }

  /**
   * A cluster refuses a call of several keys before it does any of it, and says why. The limits within which the call is to be
   * sent again; `undefined` where that is no use.
   */
  #limitsAfterRefusal(error: unknown, limits: Limits): Limits | undefined {
    if (limits === WHILE_A_SLOT_MOVES) return undefined;
    const { message } = asError(error);
    if (/TRY_?AGAIN/i.test(message)) return WHILE_A_SLOT_MOVES;
    if (limits === IN_A_CLUSTER || !message.includes('CROSSSLOT')) return undefined;
    // Some clients and proxies do not say that they lead to a cluster. From now on all calls are split.
    this.#limits = IN_A_CLUSTER;
    return IN_A_CLUSTER;
  }
}

/** What the name of every lock has in it, as a pattern. */
const MARK = 'once:*1:';
/** A prefix that has all of the mark in it. */
const WHOLE_MARK = /(?:^once::|::once:)1:/;
/** The end of a prefix that may be the beginning of the mark. */
const HALF_A_MARK = /o(?:n(?:c(?:e(?::(?::|1|:1)?)?)?)?)?$/;

/**
 * A pattern for the names of locks that begin with a prefix, and for few others: of BullMQ's names, which may be many, the
 * server sends none.
 */
function patternOf(prefix: string): string {
  if (WHOLE_MARK.test(prefix)) return `${escapeGlob(prefix)}*`;
  return `${escapeGlob(prefix.replace(HALF_A_MARK, ''))}*${MARK}*`;
}

/** A string, as a pattern that matches only it. */
function escapeGlob(text: string): string {
  return text.replace(/[\\*?[\]]/g, '\\$&');
}

/**
 * The part of a key that decides its slot in a cluster: what stands in its first braces, else all of it.
 * @see https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags
 */
function hashTag(storedKey: string): string {
  const open = storedKey.indexOf('{');
  const close = open < 0 ? -1 : storedKey.indexOf('}', open);
  return close > open + 1 ? storedKey.slice(open + 1, close) : storedKey;
}
