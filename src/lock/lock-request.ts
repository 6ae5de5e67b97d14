/** A request for one key. It may be sent as often as it takes. */

import type { Answered, LineRecord, LockCache, LockRecord, Standing } from '../cache/contract.ts';
import { parkedRecord } from '../cache/line-rules.ts';
import { asError, CacheError } from '../core/errors.ts';
import type { Holder } from '../core/holder.ts';
import { within } from '../core/within.ts';
import type { CacheOperation, Outcome } from '../events/events.ts';
import { jobOfOwner } from '../key/owner-id.ts';
import { readResult, type SharedResult } from './kept-result.ts';
import { Lease } from './lease.ts';
import { emitCacheError, emitOutcome } from './lease-events.ts';
import { renewerOf } from './lease-renewer.ts';
import type { LeaseTerms } from './lease-terms.ts';
import { LockHandle } from './lock-handle.ts';

/** What came of a request. */
export type AcquireAttempt =
  | { readonly acquired: true; readonly handle: LockHandle }
  | {
      readonly acquired: false;
      readonly holder: Holder;
      /** Where its owner stands in the line of the key, if there is one. */
      readonly standing?: Standing | undefined;
    };

/** Called with what becomes of a duplicate, or would become of it if it were not only observed. */
export type OnOutcome = (
  outcome: Outcome,
  holder: Holder | undefined,
  how: { readonly observed: boolean },
) => void;

/** Called with a holder that is found. `true`: the key was freed, which nobody would have released. */
export type FreeIfAbandoned = (holder: Holder) => Promise<boolean> | false;

export interface TryOptions {
  /** If the key is held, its release is to be notified. */
  readonly notify?: boolean;
  /** Instead of the request's own. */
  readonly freeIfAbandoned?: FreeIfAbandoned | undefined;
}

const NONE: readonly number[] = [];

export class LockRequest {
  readonly cache: LockCache;
  readonly terms: LeaseTerms;
  /** Absent where nobody can say whether a holder will release the key. */
  readonly freeIfAbandoned: FreeIfAbandoned | undefined;
  readonly #releasesInOrder: boolean;
  readonly #onOutcome: OnOutcome | undefined;

  /**
   * @param releasesInOrder - see {@link LockHandle}.
   * @param onOutcome - called with what becomes of a duplicate.
   */
  constructor(
    cache: LockCache,
    terms: LeaseTerms,
    {
      releasesInOrder = false,
      freeIfAbandoned,
      onOutcome,
    }: {
      readonly releasesInOrder?: boolean;
      readonly freeIfAbandoned?: FreeIfAbandoned | undefined;
      readonly onOutcome?: OnOutcome | undefined;
    } = {},
  ) {
    this.cache = cache;
    this.terms = terms;
    this.#releasesInOrder = releasesInOrder;
    this.freeIfAbandoned = freeIfAbandoned;
    this.#onOutcome = onOutcome;
  }

  /**
   * Acquires the key if it is free, or held by the request's own owner.
   * @throws CacheError the cache could not decide.
   */
  tryAcquire({
    notify = false,
    freeIfAbandoned = this.freeIfAbandoned,
  }: TryOptions = {}): Promise<AcquireAttempt> {
    return this.#try({ notify, joins: true }, freeIfAbandoned) as Promise<AcquireAttempt>;
  }

  /**
   * As {@link tryAcquire}, if the request's owner is in the line of the key, or holds it.
   * @returns `undefined` where it is not. Then nothing has happened.
   */
  tryAcquireFromLine(): Promise<AcquireAttempt | undefined> {
    return this.#try({ notify: false, joins: false }, this.freeIfAbandoned);
  }

  async #try(
    how: { readonly notify: boolean; readonly joins: boolean },
    freeIfAbandoned: FreeIfAbandoned | undefined,
  ): Promise<AcquireAttempt | undefined> {
    const renewer = renewerOf(this.cache);
    for (let freed = NONE, reservedAfter = 0; ; ) {
      const lease = new Lease(this.terms, how, reservedAfter);
      const result = await renewer.acquire(lease);
      if (result.acquired) {
        return { acquired: true, handle: new LockHandle(renewer, lease, this.#releasesInOrder) };
      }
      const { standing } = result;
      if (standing?.is === 'not-in-line') return undefined;
      const record = result.record ?? this.#doneBy(standing as Answered);
      const holder = holderOf(record, this.terms.key);
      // Nearly all holders are alive: what is known at once is not awaited.
      const freeing = !freed.includes(holder.fence) && freeIfAbandoned?.(holder);
      // Each place of the key may be another's that nobody releases.
      if (freeing && (await freeing)) freed = [...freed, holder.fence];
      else if (freeing && this.#mayBeMoreReserved(holder, reservedAfter)) reservedAfter = holder.fence;
      else return { acquired: false, holder, standing };
    }
  }

  /** Whether another place of the key may be reserved, beside one whose job is still to run. */
  #mayBeMoreReserved({ state, fence }: Holder, reservedAfter: number): boolean {
    const { line } = this.terms;
    return state === 'reserved' && line !== undefined && line.places > 1 && fence > reservedAfter;
  }

  /** Who has done the work, whose result is known. The key may be free. */
  #doneBy({ result }: Answered): LockRecord {
    const { by } = readResult(result);
    return parkedRecord(this.terms.storedKey, { owner: by, since: Date.now() }, 'done');
  }

  /**
   * The result of the work that a holder has done, if it is kept.
   * @throws CacheError as {@link findHolder}.
   */
  async findResult({ owner, resultBytes }: Holder): Promise<SharedResult | undefined> {
    if (resultBytes === undefined || !this.cache.results) return undefined;
    const [text] = await this.#answerTo(this.cache.results([this.terms.storedKey]));
    const result = text === undefined ? undefined : readResult(text);
    return result?.by === owner ? result : undefined;
  }

  /**
   * Who holds the key now, if it is held.
   * @throws CacheError the cache did not answer, or not while a lease would be safe.
   */
  async findHolder(): Promise<Holder | undefined> {
    const [record] = await this.#answerTo(this.cache.inspect([this.terms.storedKey]));
    return record && holderOf(record, this.terms.key);
  }

  /**
   * Frees the key, if the acquisition with this fence holds it.
   * @returns whether it did.
   * @throws CacheError as {@link findHolder}.
   */
  async forceRelease(fence: number): Promise<boolean> {
    const freeing = this.cache.forceRelease?.([{ storedKey: this.terms.storedKey, fence }]);
    if (!freeing) return false;
    const [freed] = await this.#answerTo(freeing);
    return freed === true;
  }

  /**
   * How the line of the key stands, and the request's owner in it.
   * @throws CacheError as {@link findHolder}.
   */
  async findLine(): Promise<LineRecord> {
    const [line] = await this.findLines([this.terms.owner]);
    return line ?? { held: 0, parked: 0, holds: false };
  }

  /** As {@link findLine}, of each of some owners. */
  async findLines(owners: readonly string[]): Promise<readonly LineRecord[]> {
    const { storedKey } = this.terms;
    return this.#answerTo(
      this.cache.lines?.(owners.map(owner => ({ storedKey, owner }))) ?? Promise.resolve([]),
    );
  }

  /**
   * Removes an owner from the line of the key.
   * @throws CacheError as {@link findHolder}.
   */
  async strikeOut(owner: string): Promise<void> {
    await this.#answerTo(
      this.cache.strikeOut?.([{ storedKey: this.terms.storedKey, owner }]) ?? Promise.resolve([]),
    );
  }

  async #answerTo<Answer>(asked: Promise<readonly Answer[]>): Promise<readonly Exclude<Answer, Error>[]> {
    const { key, ttl } = this.terms;
    try {
      const answers = await within(ttl, asked);
      if (!answers) throw new Error('the cache did not answer in time');
      const failed = answers.find(answer => answer instanceof Error);
      if (failed) throw failed;
      return answers as readonly Exclude<Answer, Error>[];
    } catch (thrown) {
      const cause = asError(thrown);
      const error = new CacheError(key, cause.message, { cause });
      this.emitCacheError('acquire', error);
      throw error;
    }
  }

  /** The handle of work that runs without a lock. */
  unguarded(): LockHandle {
    return LockHandle.unguarded(this.terms);
  }

  /** @param observed - it runs all the same: this is what would have become of it. */
  emitOutcome(
    outcome: Outcome,
    holder: Holder | undefined,
    { observed = false }: { observed?: boolean } = {},
  ): void {
    emitOutcome(this.terms, outcome, holder, { observed });
    this.#onOutcome?.(outcome, holder, { observed });
  }

  emitCacheError(operation: CacheOperation, error: Error): void {
    emitCacheError(this.terms, operation, error);
  }
}

/**
 * Who holds a key, as users see it: with its key, and its job where a job holds it.
 * @param key - the key in the user's words.
 */
export function holderOf(record: LockRecord, key: string): Holder {
  const { storedKey, state, owner, fence, attempt, since, expiresIn, ttl, dueIn, match, resultBytes } =
    record;
  const job = jobOfOwner(owner);
  // Every duplicate comes by here. No spread: V8 takes microseconds for one.
  const holder: { -readonly [Field in keyof Holder]: Holder[Field] } = {
    storedKey,
    state,
    owner,
    fence,
    attempt,
    since,
    expiresIn,
    ttl,
    key,
  };
  if (dueIn !== undefined) holder.dueIn = dueIn;
  if (match !== undefined) holder.match = match;
  if (resultBytes !== undefined) holder.resultBytes = resultBytes;
  if (job) {
    holder.jobId = job.jobId;
    holder.queueName = job.queueName;
  }
  return holder;
}
