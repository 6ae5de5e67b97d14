/** For operators: lists the locks of a queue or a cache, and releases them by force. */

import { promoteJobOfQueue } from '../bullmq/promote.ts';
import { cacheOnConnection } from '../bullmq/queue-cache.ts';
import type { JournalRecord, LockCache } from '../cache/contract.ts';
import { parkedRecord } from '../cache/line-rules.ts';
import { type Cache, cacheOfQueue, resolveCache, toLockCache } from '../cache/registry.ts';
import { type Holder, LOCK_STATES, type LockRecord, nameOfHolder } from '../core/holder.ts';
import { oneOf, optional, parseOptions, show, text, withDefault } from '../core/validation.ts';
import { within } from '../core/within.ts';
import { jobOfOwner } from '../key/owner-id.ts';
import { type LockName, parseName, queueName, scopedName } from '../key/stored-name.ts';
import { checkKey } from '../key/template.ts';
import { holderOf } from '../lock/lock-request.ts';
import { DEFAULT_SCOPE } from '../lock/options.ts';
import { type LockLine, readLine, withLines } from './lock-line.ts';

/** A lock that is held, or held as done. Of a key with several places there is one for each holder. */
export interface LockInfo extends Holder {
  /** The queue that the lock belongs to, with its prefix: `bull:emails`. */
  readonly queue?: string;
  /** Else the scope. */
  readonly scope?: string;
  /**
   * Who holds the key beside it, and who is parked for it. Absent where it holds the key alone and nobody is parked, where the cache
   * has no lines, and where the line can't be read.
   */
  readonly line?: LockLine;
}

/** Which locks are listed. All, where nothing is said. */
export interface LockFilter {
  /** Those whose keys begin like this. */
  readonly startsWith?: string;
  /**
   * Those that are leased (`'running'`), kept for a retry (`'reserved'`) or after a success (`'done'`), or values that no lock
   * wrote (`'foreign'`).
   */
  readonly state?: ListedState;
}

/** The states in which a lock is listed. A key that is free is not, though jobs may be parked for it. */
export type ListedState = Exclude<Holder['state'], 'parked'>;

export const LISTED_STATES: readonly ListedState[] = LOCK_STATES.filter(
  (state): state is ListedState => state !== 'parked',
);

/** The locks of one queue, scope or cache. */
export interface LockAdmin {
  /**
   * Lists the locks that are held, in no order. What is acquired or released meanwhile may be listed or not. Redis is scanned
   * step by step, and never blocked.
   * @throws Error the cache can't list its locks.
   */
  list(filter?: LockFilter): AsyncIterable<LockInfo>;
  /**
   * The lock of one key, if it is held: of several holders the first. If the key is free and jobs are parked for it, its state is
   * `'parked'`, and its owner the one whose turn is next.
   * @param lock - a key; or a lock that was listed: then whoever holds its key now.
   */
  get(lock: string | Pick<LockInfo, 'storedKey'>): Promise<LockInfo | undefined>;
  /**
   * Frees a key, whoever holds it or has done it. Others can acquire it at once. The signal of a holder that lives aborts at
   * its next renewal, within a third of its ttl; until then two may run. Of the jobs that are parked for the key the next is promoted,
   * where it is a job of the queue that was given to {@link locksOf}; else it comes back by itself.
   * @param lock - a key, whoever holds it; or a lock that was listed, as long as the same acquisition holds it.
   * @returns whether it was there. A value that no lock wrote is left alone, and so is the lock of another queue or scope.
   * @throws Error the cache can't do it.
   */
  forceRelease(lock: string | Pick<LockInfo, 'storedKey' | 'fence'>): Promise<boolean>;
  /**
   * What became of the duplicates of a queue, in all processes: how many had which outcome, by the minute, for a day; and the last thousand
   * of them, for a week. A process writes about once a second. In a busy second each names its last hundred duplicates, and counts all.
   * @throws Error it is no queue that was given to {@link locksOf}, or the cache keeps no journal.
   */
  journal(): Promise<JournalRecord>;
}

/** What is needed of BullMQ's `Queue` and `Worker`. */
export interface QueueLike {
  readonly name: string;
  readonly qualifiedName: string;
}

/** Options of {@link locksOf}. */
export interface LocksOptions {
  /**
   * Locks of this scope, instead of the queue's.
   * @defaultValue of a queue its own locks; of a cache those of all queues and scopes in it
   */
  readonly scope?: string;
  /**
   * Where the locks of a queue are, if its processor has an option `cache`.
   * @defaultValue the queue's entry in `caches`, else `caches.default`, else its own connection
   */
  readonly cache?: Cache | string;
}

/**
 * The locks of a queue, wherever they are kept, or of a cache: who holds them, since when, and for how long.
 *
 * @param of - a queue or a worker of BullMQ, a cache, or the name of one in {@link caches}.
 * @throws TypeError it is none of these.
 * @example
 * ```ts
 * for await (const { key, jobId, expiresIn } of locksOf(queue).list()) console.log(key, jobId, expiresIn);
 * await locksOf(queue).forceRelease('welcome-42');
 * ```
 */
export function locksOf(of: QueueLike | Cache | string, options: LocksOptions = {}): LockAdmin {
  const { scope, cache } = parseOptions('locksOf', options, {
    scope: optional(text),
    cache: optional(givenCache),
  });
  if (!isQueue(of)) {
    if (typeof of !== 'string' && (typeof of !== 'object' || of === null)) {
      throw new TypeError(
        `locksOf needs a queue or worker of BullMQ, a cache, or the name of one in caches, not ${show(of)}`,
      );
    }
    const given = givenCache(of, 'locksOf (for the locks of a queue give the Queue itself): the cache');
    return new CacheLocks({ findCache: async () => given, of: undefined, scope });
  }
  return new CacheLocks({ findCache: async () => cache ?? (await cacheOf(of)), of, scope });
}

/** What was asked can't be done. The message is written here, and contains nothing that a datastore said. */
export class LockAdminError extends Error {}

/**
 * Completes the sentence "the lock was not released: it …".
 * @param now - who holds the key now.
 */
export function describeRefusal(now: LockInfo | undefined): string {
  if (!now || now.state === 'parked') return 'is no longer held';
  if (now.state === 'foreign') return 'is a value that no lock wrote';
  return `is now held by ${nameOfHolder(now)}`;
}

/** How large the result is that is kept with a lock: `14 bytes kept`, `1.2 kB kept`. What it is, nobody is shown here. */
export function describeResult({ resultBytes }: Pick<LockInfo, 'resultBytes'>): string | undefined {
  if (resultBytes === undefined) return undefined;
  return resultBytes < 1000 ? `${resultBytes} bytes kept` : `${(resultBytes / 1000).toFixed(1)} kB kept`;
}

/** Lines are read for so many listed locks at a time. */
const LINES_PER_CALL = 200;

/** What a long key looks like in a list. It is longer than a key may be, so no other key looks like it. */
const SHORT_FORM = /^.{255,256}~[\w-]{43}$/s;

const FILTER_OPTIONS = {
  startsWith: withDefault('', prefix),
  state: optional(oneOf(LISTED_STATES)),
};

function prefix(value: unknown, option: string): string {
  return value === '' ? '' : text(value, option);
}

/** How long a forced release waits for the promotion of the next job, which comes back by itself too. */
const MAX_PROMOTION_MS = 1000;

class CacheLocks implements LockAdmin {
  readonly #findCache: () => Promise<LockCache>;
  /** The queue whose jobs can be promoted. */
  readonly #of: QueueLike | undefined;
  /** The qualified name of the queue; absent where the locks are a scope's, or all of the cache. */
  readonly #queue: string | undefined;
  readonly #scope: string | undefined;

  constructor({
    findCache,
    of,
    scope,
  }: {
    readonly findCache: () => Promise<LockCache>;
    readonly of: QueueLike | undefined;
    readonly scope: string | undefined;
  }) {
    this.#findCache = findCache;
    this.#of = of;
    this.#queue = scope === undefined ? of?.qualifiedName : undefined;
    this.#scope = scope;
  }

  async *list(filter: LockFilter = {}): AsyncIterable<LockInfo> {
    const { startsWith, state } = parseOptions('locksOf: list', filter, FILTER_OPTIONS);
    const cache = await this.#findCache();
    const isWholeCache = this.#queue === undefined && this.#scope === undefined;
    const prefix = isWholeCache ? '' : this.#storedName(startsWith);
    const isWanted = (info: LockInfo) =>
      (state === undefined || info.state === state) && info.key.startsWith(startsWith);
    let page: LockInfo[] = [];
    for await (const info of listStored(cache, prefix)) {
      if (isWanted(info)) page.push(info);
      if (page.length < LINES_PER_CALL) continue;
      yield* await withLines(cache, page);
      page = [];
    }
    yield* await withLines(cache, page);
  }

  async get(lock: string | Pick<LockInfo, 'storedKey'>): Promise<LockInfo | undefined> {
    const storedKeys = this.#storedKeys(lock);
    if (storedKeys.length === 0) return undefined;
    const cache = await this.#findCache();
    const records = await cache.inspect(storedKeys);
    const record = records.find(found => found !== undefined) ?? (await findParked(cache, storedKeys));
    return record && (await withLines(cache, [infoOf(record)]))[0];
  }

  async forceRelease(lock: string | Pick<LockInfo, 'storedKey' | 'fence'>): Promise<boolean> {
    const cache = await this.#findCache();
    if (!cache.forceRelease) throw cannot('release a lock by force', 'forceRelease');
    const fence = isListed(lock) ? lock.fence : undefined;
    const steps = this.#storedKeys(lock).map(storedKey => ({ storedKey, fence }));
    if (steps.length === 0) return false;
    const answers = await cache.forceRelease(steps);
    for (const answer of answers) if (answer instanceof Error) throw answer;
    const freed = steps.filter((_, i) => answers[i] === true);
    for (const { storedKey } of freed) await within(MAX_PROMOTION_MS, this.#promoteNext(cache, storedKey));
    return freed.length > 0;
  }

  async journal(): Promise<JournalRecord> {
    if (!this.#of) throw new LockAdminError('locksOf: a journal is kept of a queue; give the Queue itself');
    const cache = await this.#findCache();
    if (!cache.readJournal) throw cannot('keep a journal', 'readJournal');
    return cache.readJournal(this.#of.qualifiedName);
  }

  /** Promotes whose turn it is, if it is a job of the queue. Never rejects. */
  async #promoteNext(cache: LockCache, storedKey: string): Promise<object> {
    const findHead = async () => (await readLine(cache, storedKey))?.head;
    const head = await findHead();
    const job = head === undefined ? undefined : jobOfOwner(head);
    const isParked = async () => (await findHead()) === head;
    if (this.#of && job?.queueQualifiedName === this.#of.qualifiedName)
      await promoteJobOfQueue(this.#of, job, { isParked });
    return {};
  }

  /** The names that a lock can have in the cache: none, if it was listed elsewhere. */
  #storedKeys(lock: string | Pick<LockInfo, 'storedKey'>): string[] {
    if (isListed(lock)) return this.#has(lock.storedKey) ? [lock.storedKey] : [];
    // A long key is stored in a short form.
    const keys = [checkKey(lock, 'locksOf: the key')];
    if (SHORT_FORM.test(lock)) keys.push(lock);
    return keys.map(key => this.#storedName(key));
  }

  /** Whether a lock is of this queue, scope or cache. */
  #has(storedKey: string): boolean {
    const name = parseName(storedKey);
    if (!name) return false;
    if (this.#queue !== undefined) return name.queue === this.#queue;
    return this.#scope === undefined || name.scope === this.#scope;
  }

  #storedName(key: string): string {
    return this.#queue === undefined
      ? scopedName(this.#scope ?? DEFAULT_SCOPE, key)
      : queueName(this.#queue, key);
  }
}

function givenCache(given: unknown, option: string): LockCache {
  return typeof given === 'string' ? resolveCache(given, option) : toLockCache(given, option);
}

/**
 * Where the locks of a queue's jobs are kept if no option says otherwise.
 * @throws LockAdminError the queue has no connection.
 */
export async function cacheOf(queue: QueueLike): Promise<LockCache> {
  const cache = cacheOfQueue(queue.name) ?? (await cacheOnConnection(queue));
  if (cache) return cache;
  throw new LockAdminError(
    `locksOf: the queue '${queue.name}' has no connection that locks could be on; pass their cache instead`,
  );
}

/**
 * The locks of a cache whose stored keys begin with a prefix.
 * @param signal - aborted where nobody wants the rest: the list ends early.
 * @throws LockAdminError the cache can't list its locks.
 */
export async function* listStored(
  cache: LockCache,
  prefix: string,
  signal?: AbortSignal,
): AsyncIterable<LockInfo> {
  if (!cache.list) throw cannot('list its locks', 'list');
  for await (const record of cache.list(prefix, signal)) yield infoOf(record);
}

/** Of some keys that are free: the one whose turn is next, of the first that has a line. */
async function findParked(cache: LockCache, storedKeys: readonly string[]): Promise<LockRecord | undefined> {
  for (const storedKey of storedKeys) {
    const head = (await readLine(cache, storedKey))?.head;
    if (head !== undefined) return parkedRecord(storedKey, { owner: head, since: 0 });
  }
  return undefined;
}

function infoOf(record: LockRecord): LockInfo {
  const name: LockName = parseName(record.storedKey) ?? { key: record.storedKey };
  return { ...holderOf(record, name.key), ...name };
}

/** Whether it is a queue, or a worker, of BullMQ. */
export function isQueue(of: unknown): of is QueueLike {
  const { qualifiedName, name } = (of ?? {}) as Partial<QueueLike>;
  return typeof qualifiedName === 'string' && typeof name === 'string';
}

function isListed<Listed extends { readonly storedKey: string }>(lock: string | Listed): lock is Listed {
  return typeof (lock as Partial<Listed> | undefined)?.storedKey === 'string';
}

function cannot(what: string, method: string): LockAdminError {
  return new LockAdminError(`locksOf: this cache can't ${what}: it has no method '${method}'`);
}
