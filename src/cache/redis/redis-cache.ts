/**
 * Keeps locks in Redis (also Valkey, KeyDB, Dragonfly): one key a lock, one script call a batch, the server's clock. Keeps all
 * guarantees on one server; a fail-over that loses writes loses locks with them.
 */

import { asError } from '../../core/errors.ts';
import { getOrCreate } from '../../core/get-or-create.ts';
import { hashTag, lineName, resultName } from '../../key/line-name.ts';
import { isLockName } from '../../key/stored-name.ts';
import { ExchangeCache } from '../batching/exchange.ts';
import {
  allFailed,
  countSteps,
  exchangeInParts,
  fits,
  type Limits,
  readEach,
  reassemble,
  split,
} from '../batching/split.ts';
import type {
  Batch,
  BatchResults,
  EnterResult,
  EnterStep,
  ForceReleaseStep,
  HoldWrites,
  JournalPage,
  JournalRecord,
  LeaveResult,
  LeaveStep,
  LineQuery,
  LineRecord,
  Listener,
  LockRecord,
} from '../contract.ts';
import type { Subscriber } from '../notify/subscriber.ts';
import { refused } from '../refusals.ts';
import {
  datastoreOf,
  isCluster,
  isErrorReply,
  isNodeRedis,
  mastersOf,
  type RedisClient,
  type ScriptRunner,
  scriptRunner,
} from './client.ts';
import { ClusterCalls } from './cluster-calls.ts';
import { holdWrites, socketOf } from './hold-writes.ts';
import {
  READ_JOURNAL_LUA,
  readJournalReply,
  WRITE_JOURNAL_LUA,
  writeJournalPage,
  writeJournalQuery,
} from './journal.ts';
import {
  enterStep,
  type LineReply,
  type LineStep,
  leaveStep,
  lineStep,
  readEntered,
  readLeft,
  readLine,
  readLineReplies,
  readStruck,
  writeLineSteps,
} from './line-protocol.ts';
import { FORGET_LUA, LINE_LUA, RESULTS_LUA } from './line-scripts.ts';
import { LoneStep } from './lone-step.ts';
import {
  type Encoded,
  type InspectReply,
  readFreed,
  readInspected,
  readReply,
  readScan,
  type ScriptCall,
  textFrom,
  writeBatch,
  writeForceReleases,
} from './protocol.ts';
import { EXCHANGE_LUA, FORCE_RELEASE_LUA, INSPECT_LUA, SCAN_LUA } from './scripts.ts';
import { redisSubscriber } from './subscriber.ts';

const ONE_STEP: Limits = { maxSteps: 1 };
/** How many names one scan looks at: the server does nothing else meanwhile. */
const SCAN_COUNT = 500;

/**
 * A cache on a Redis connection of yours, which stays yours to configure and to close.
 *
 * Give it a connection that does not block (no BLPOP and the like). A connection to a cluster works: keys of one hash tag
 * travel together, others one by one, and so do all of a slot while it moves to another server.
 *
 * @example
 * ```ts
 * const redis = new Redis();
 * caches.default = new RedisCache(redis);
 * ```
 */
export class RedisCache extends ExchangeCache {
  /** @internal */
  readonly writesByTurn: boolean;
  readonly #exchange: ScriptRunner;
  readonly #lone: LoneStep;
  readonly #inspect: ScriptRunner;
  readonly #line: ScriptRunner;
  readonly #results: ScriptRunner;
  readonly #scan: ScriptRunner;
  readonly #forceRelease: ScriptRunner;
  readonly #forget: ScriptRunner;
  /** Of the scripts that others run here. */
  readonly #runners = new Map<string, ScriptRunner>();
  readonly #client: RedisClient;
  readonly #subscriber: Subscriber;
  readonly #cluster: ClusterCalls;

  /**
   * @param client - an ioredis, node-redis, Valkey GLIDE or Bun client, or one of BullMQ's wrapped clients.
   * @throws TypeError it is none of them, or an ioredis client with a `keyPrefix`.
   */
  constructor(client: RedisClient) {
    super();
    this.#exchange = scriptRunner(client, EXCHANGE_LUA);
    this.#lone = new LoneStep(this.#exchange);
    this.#inspect = scriptRunner(client, INSPECT_LUA);
    this.#line = scriptRunner(client, LINE_LUA);
    this.#results = scriptRunner(client, RESULTS_LUA);
    this.#scan = scriptRunner(client, SCAN_LUA);
    this.#forceRelease = scriptRunner(client, FORCE_RELEASE_LUA);
    this.#forget = scriptRunner(client, FORGET_LUA);
    this.#client = client;
    this.writesByTurn = isNodeRedis(client);
    this.#subscriber = redisSubscriber(client);
    this.#cluster = new ClusterCalls(isCluster(client));
  }

  /**
   * Asked each time: an ioredis client has no socket before it connects.
   * @internal
   */
  get holdWrites(): HoldWrites | undefined {
    return socketOf(this.#client) && this.#holdWrites;
  }

  readonly #holdWrites: HoldWrites = () => holdWrites(this.#client);

  /** Asked each time: an ioredis client may select another database. */
  get datastore(): string | undefined {
    return datastoreOf(this.#client);
  }

  /** Sends the whole batch before it returns its promise, in as many calls as it takes. */
  exchange(batch: Batch): Promise<BatchResults> {
    const limits = limitsFor(batch, this.#cluster.limits);
    if (fits(batch, limits)) return this.#send(batch);
    return exchangeInParts(batch, limits, parts => Promise.all(parts.map(part => this.#send(part))));
  }

  async inspect(storedKeys: readonly string[]): Promise<(LockRecord | undefined)[]> {
    return (await this.#inspectAll(storedKeys)).map(([record]) => record);
  }

  /** Who holds each key: several where it has several places. */
  async #inspectAll(storedKeys: readonly string[]): Promise<LockRecord[][]> {
    const found = await this.#inParts(
      storedKeys,
      storedKey => storedKey,
      async some => (await this.#inspect.run(some, [some.length])) as InspectReply[],
    );
    return found.map((reply, i) => readInspected(storedKeys[i] as string, reply));
  }

  async forceRelease(steps: readonly ForceReleaseStep[]): Promise<boolean[]> {
    const freed = await this.#inParts(
      steps,
      ({ storedKey }) => storedKey,
      async some => {
        const { keys, args } = writeForceReleases(some);
        return readFreed(await this.#forceRelease.run(keys, args));
      },
    );
    // Not in one call with the release: while a slot of a cluster moves, only calls of one key are sure to be made.
    const ended = steps.filter((_, i) => freed[i]);
    const names = ended.flatMap(({ storedKey }) => [lineName(storedKey), resultName(storedKey)]);
    await this.#inParts(
      names,
      name => name,
      async some => {
        await this.#forget.run(some, [some.length]);
        return [...some];
      },
    );
    return freed;
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
        if (storedKeys.length > 0) yield* (await this.#inspectAll(storedKeys)).flat();
      } while (cursor !== '0');
    }
  }

  /** Uses one more connection, which is open as long as anyone waits. */
  listen(storedKey: string, onRelease: () => void): Listener {
    return this.#subscriber.listen(storedKey, onRelease);
  }

  async enter(steps: readonly EnterStep[]): Promise<(EnterResult | Error)[]> {
    const replies = await this.#takeLineSteps(steps.map(enterStep));
    return readEach(replies, (reply, i) => readEntered(reply, steps[i] as EnterStep));
  }

  async leave(steps: readonly LeaveStep[]): Promise<(LeaveResult | Error)[]> {
    const replies = await this.#takeLineSteps(steps.map(leaveStep));
    return readEach(replies, readLeft);
  }

  async lines(queries: readonly LineQuery[]): Promise<(LineRecord | Error)[]> {
    const replies = await this.#takeLineSteps(queries.map(query => lineStep('line', query)));
    return readEach(replies, readLine);
  }

  async strikeOut(queries: readonly LineQuery[]): Promise<(boolean | Error)[]> {
    const replies = await this.#takeLineSteps(queries.map(query => lineStep('strike', query)));
    return readEach(replies, readStruck);
  }

  async writeJournal(pages: readonly JournalPage[]): Promise<void> {
    const calls = pages.map(page => this.#call(WRITE_JOURNAL_LUA, writeJournalPage(page)));
    await Promise.all(calls);
  }

  async readJournal(queue: string): Promise<JournalRecord> {
    const now = Date.now();
    return readJournalReply(await this.#call(READ_JOURNAL_LUA, writeJournalQuery(queue, now)), now);
  }

  #call(lua: string, { keys, args }: ScriptCall): Promise<unknown> {
    return getOrCreate(this.#runners, lua, () => scriptRunner(this.#client, lua)).run(keys, args);
  }

  async results(storedKeys: readonly string[]): Promise<(string | undefined)[]> {
    const names = storedKeys.map(resultName);
    const found = await this.#inParts(
      names,
      name => name,
      async some => (await this.#results.run(some, [some.length])) as Encoded[],
    );
    return found.map(text => textFrom(text).slice(1) || undefined);
  }

  /**
   * Runs a script on the cache's client. All keys are of one slot.
   * @internal
   */
  runScript(lua: string, keys: readonly string[]): Promise<unknown> {
    return this.#call(lua, { keys, args: [] });
  }

  /** One call of the script. If it fails, each of its steps has failed, and none of other calls. */
  async #send(batch: Batch): Promise<BatchResults> {
    try {
      const lone = this.#cluster.isCluster ? undefined : this.#lone.send(batch);
      return await (lone ?? this.#sendWithinCluster(batch));
    } catch (error) {
      const problem = asError(error);
      return allFailed(batch, isErrorReply(problem) ? refused(problem) : problem);
    }
  }

  /** Takes steps on keys and their lines. If a call fails, each of its steps has failed, and none of other calls. */
  #takeLineSteps(steps: readonly LineStep[]): Promise<(LineReply | Error)[]> {
    return this.#inParts<LineStep, LineReply | Error>(
      steps,
      ({ storedKey }) => storedKey,
      async some => {
        const { keys, args } = writeLineSteps(some);
        return readLineReplies(await this.#line.run(keys, args), some.length);
      },
      {
        keysPerItem: steps.some(({ hasResult }) => hasResult) ? 3 : 2,
        onError: (error, some) => some.map(() => this.#refusedBy(error)),
      },
    );
  }

  /** While a slot moves, a call of several keys is refused for a moment. */
  #refusedBy(error: Error): Error {
    const isTransient = this.#cluster.isSlotMoving(error);
    return isTransient || isErrorReply(error) ? refused(error, { isTransient }) : error;
  }

  #sendWithinCluster(batch: Batch): Promise<BatchResults> {
    const { releases, renewals, acquisitions } = batch;
    const anyStep = releases[0] ?? renewals[0] ?? acquisitions[0];
    return this.#cluster.make({
      storedKey: anyStep?.storedKey ?? '',
      steps: countSteps(batch),
      whole: async () => {
        const lone = this.#lone.send(batch);
        if (lone) return lone;
        const { keys, args } = writeBatch(batch);
        return readReply(await this.#exchange.run(keys, args), batch);
      },
      oneByOne: () => exchangeInParts(batch, ONE_STEP, parts => inTurn(parts, part => this.#send(part))),
    });
  }

  async #inParts<Item, Answer>(
    items: readonly Item[],
    keyOf: (item: Item) => string,
    ask: (some: readonly Item[]) => Promise<Answer[]>,
    {
      keysPerItem = 1,
      onError,
    }: { keysPerItem?: number; onError?: (error: Error, some: readonly Item[]) => Answer[] } = {},
  ): Promise<Answer[]> {
    const askTogether = (some: readonly Item[]): Promise<Answer[]> =>
      this.#cluster.make({
        storedKey: keyOf(some[0] as Item),
        steps: some.length,
        whole: () => ask(some),
        oneByOne: async () => (await inTurn(some, one => askTogether([one]))).flat() as Answer[],
      });
    const { maxSteps, groupOf } = this.#cluster.limits;
    const parts = split(items, keyOf, { maxSteps: Math.floor(maxSteps / keysPerItem), groupOf });
    const answers = parts.map(({ items: some }) => {
      const answer = askTogether(some);
      return onError ? answer.catch(error => onError(asError(error), some)) : answer;
    });
    return reassemble(parts, await Promise.all(answers));
  }

  /** In a cluster, one scan for each server; the names of one hash tag are on one server. */
  async #scansFor(prefix: string): Promise<((args: (string | number)[]) => Promise<unknown>)[]> {
    if (!this.#cluster.isCluster || hashTag(prefix) !== prefix) {
      return [args => this.#scan.run([prefix], args)];
    }
    const servers = await mastersOf(this.#client);
    return servers.map(run => args => run(SCAN_LUA, args));
  }
}

/** A release that keeps a result has two keys. */
function limitsFor(batch: Batch, limits: Limits): Limits {
  const maxSteps = Math.floor(limits.maxSteps / 2);
  if (countSteps(batch) <= maxSteps || !batch.releases.some(({ result }) => result)) return limits;
  return { ...limits, maxSteps };
}

async function inTurn<Item, Answer>(
  items: readonly Item[],
  ask: (item: Item) => Promise<Answer>,
): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (const item of items) answers.push(await ask(item));
  return answers;
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
