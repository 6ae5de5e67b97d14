/** One job on its way through the guard. */

import { warnOfRaised } from '../bullmq/config-warnings.ts';
import { attemptOf, idOf, lockDurationOf, ownerOf, type RunningJob } from '../bullmq/job.ts';
import { emitterOf } from '../bullmq/job-events.ts';
import { knownQueueCache, type QueueCache } from '../bullmq/queue-cache.ts';
import { wasMoved } from '../bullmq/retries.ts';
import { cacheOfQueue, resolveCache } from '../cache/registry.ts';
import type { Holder } from '../core/holder.ts';
import type { DuplicateHandler, GuardedJob } from '../duplicates/strategy.ts';
import type { Outcome } from '../events/events.ts';
import { jobName } from '../key/stored-name.ts';
import { keylessTerms, type LeaseTerms, type LineTerms, placesOnly } from '../lock/lease-terms.ts';
import { type Ending, LockHandle } from '../lock/lock-handle.ts';
import { LockRequest } from '../lock/lock-request.ts';
import { DEFAULT_TTL_MS } from '../lock/options.ts';
import { freeIfAbandoned } from './abandoned-lease.ts';
import { noteInJournal } from './journal.ts';
import { keeperOfJob } from './keep-result.ts';
import type { ParsedGuardOptions } from './options.ts';
import { rememberFor, reservationFor } from './reserve.ts';

/** The options of a guarded processor, parsed. */
export interface ProcessorOptions extends ParsedGuardOptions<GuardedJob> {
  /** Builds a job's key. */
  readonly key: (job: RunningJob) => string;
  /** Builds a hash of what must be equal besides the key. */
  readonly match: ((job: RunningJob) => string) | undefined;
  readonly holdThroughRetries: boolean;
  readonly logToJob: boolean;
  readonly journal: boolean;
}

/** A processor and its options. */
export interface GuardedProcessor {
  readonly fn: (
    job: any,
    token: string | undefined,
    signal: AbortSignal | undefined,
    lock: LockHandle,
  ) => any;
  readonly options: ProcessorOptions;
}

/** One call of a processor by BullMQ. */
export interface ProcessorCall {
  /** The processor's `this`. */
  readonly self: unknown;
  readonly job: RunningJob;
  readonly token: string | undefined;
  /** BullMQ makes a signal only for a processor with three parameters or more. */
  readonly signal: AbortSignal | undefined;
}

/** Runs a job without a lock, and without asking for its key. */
export async function runUnlocked(guarded: GuardedProcessor, call: ProcessorCall): Promise<unknown> {
  const handle = LockHandle.unguarded(unlockedTerms(guarded, call));
  if (call.signal) handle.follow(call.signal);
  return callProcessor(guarded, call, handle, () => handle.signal);
}

/** The terms of a job that has no key. */
export function unlockedTerms({ options }: GuardedProcessor, { job }: ProcessorCall): LeaseTerms {
  return keylessTerms({ emitter: options.onEvent, queueName: job.queueName, jobId: idOf(job) });
}

/** Where the job's lock is kept; `undefined` where that is its queue's connection, and no job has come by it yet. */
export function knownCacheOf({ cache }: ProcessorOptions, job: RunningJob): QueueCache | undefined {
  const chosen =
    cache === undefined ? cacheOfQueue(job.queueName) : resolveCache(cache, "onceProcessor: option 'cache'");
  return chosen ? { cache: chosen, releasesInOrder: false, isOwn: false } : knownQueueCache(job);
}

export class JobContext implements GuardedJob {
  readonly request: LockRequest;
  readonly job: RunningJob;
  readonly token: string | undefined;
  readonly signal: AbortSignal | undefined;
  readonly scope: string | undefined;
  readonly isObserved: boolean;
  readonly hasOwnCache: boolean;
  readonly concurrency: number;
  readonly #guarded: GuardedProcessor;
  readonly #call: ProcessorCall;

  constructor(
    guarded: GuardedProcessor,
    call: ProcessorCall,
    {
      key,
      match,
      queueCache,
      receivedAt,
      isObserved,
    }: {
      readonly key: string;
      readonly match: string | undefined;
      readonly queueCache: QueueCache;
      /** When the guard got the job, on the monotonic clock. */
      readonly receivedAt: number;
      /** Whatever the key's state, the job runs as if there were no guard. */
      readonly isObserved: boolean;
    },
  ) {
    const { cache, releasesInOrder, isOwn } = queueCache;
    this.job = call.job;
    this.token = call.token;
    this.signal = call.signal;
    this.scope = guarded.options.scope;
    this.hasOwnCache = isOwn;
    const failsOpen = guarded.options.failsOpen || isObserved;
    this.concurrency = guarded.options.concurrency;
    const line = this.#lineOf(guarded, isObserved);
    const terms = termsOf(guarded, call, { key, match, requestedAt: receivedAt, failsOpen, line });
    this.request = new LockRequest(cache, terms, {
      // Who shares the result is known when the release is answered.
      releasesInOrder: releasesInOrder && line?.kind !== 'together',
      freeIfAbandoned: holder => freeIfAbandoned(this, holder),
      onOutcome: (outcome, holder, { observed }) => {
        if (outcome === 'raised' && !observed) warnOfRaised(this.job);
        if (guarded.options.journal) this.#note(outcome, holder, observed);
      },
    });
    this.#guarded = guarded;
    this.#call = call;
    this.isObserved = isObserved;
  }

  /** Observed work is not parked. */
  #lineOf(
    { options: { strategy, concurrency } }: GuardedProcessor,
    isObserved: boolean,
  ): LineTerms | undefined {
    if (!strategy.line || isObserved) return placesOnly(concurrency);
    return {
      places: concurrency,
      kind: strategy.line,
      interrupts: strategy.interrupts ?? false,
      onNext: owner => strategy.onNext?.(this, owner),
      onAnswered: owners => strategy.onAnswered?.(this, owners),
    };
  }

  #note(outcome: Outcome, holder: Holder | undefined, observed: boolean): void {
    const { cache, terms } = this.request;
    const { key, storedKey, jobId } = terms;
    const { queue: worker, queueQualifiedName } = this.job;
    const noted = { at: Date.now(), key, storedKey, jobId, outcome, observed, holder };
    noteInJournal(cache, queueQualifiedName, noted, worker);
  }

  storedKeyOf(job: RunningJob): string | undefined {
    try {
      return jobName(job, this.scope, this.#guarded.options.key(job));
    } catch {
      // It fails when it comes itself, and says why.
      return undefined;
    }
  }

  run(handle: LockHandle, wrap?: (work: () => Promise<unknown>) => Promise<unknown>): Promise<unknown> {
    const { dedupeFor } = this.#guarded.options;
    const work = () => this.#work(handle);
    return handle.runAndRelease(wrap ? () => wrap(work) : work, {
      dedupeFor,
      reserve: this.#reserve(),
      rememberFor: this.#rememberFor(),
      keep: keeperOfJob(this.request, dedupeFor, this.job),
    });
  }

  callHandler(handler: DuplicateHandler, holder: Holder): unknown {
    return handler(this.job, holder);
  }

  #work(handle: LockHandle): any {
    // The loss of a lock does not abort work that is only observed.
    const own = this.isObserved ? this.request.unguarded() : handle;
    if (this.signal) own.follow(this.signal);
    return callProcessor(this.#guarded, this.#call, handle, () => own.signal);
  }

  #reserve(): Ending['reserve'] {
    if (!this.#guarded.options.holdThroughRetries) return undefined;
    return (error, { isReplaced }) =>
      // A replaced job that failed is not to go on: the newer one runs now. One that moved itself is in the middle of its work.
      isReplaced && !wasMoved(error) ? undefined : reservationFor(this.job, error, this.request.terms);
  }

  #rememberFor(): ((error?: unknown) => number) | undefined {
    const { line, ttl } = this.request.terms;
    return line?.kind === 'newest' ? error => rememberFor(this.job, error, ttl) : undefined;
  }
}

function termsOf(
  { options }: GuardedProcessor,
  { job }: ProcessorCall,
  {
    key,
    match,
    requestedAt,
    failsOpen,
    line,
  }: Pick<LeaseTerms, 'key' | 'match' | 'requestedAt' | 'failsOpen' | 'line'>,
): LeaseTerms {
  const { scope, ttl, maxHold, onEvent, logToJob } = options;
  // No spread: V8 takes 5 µs for a literal that begins with one.
  return {
    key,
    match,
    requestedAt,
    failsOpen,
    storedKey: jobName(job, scope, key),
    owner: ownerOf(job),
    attempt: attemptOf(job),
    ttl: ttl ?? lockDurationOf(job) ?? DEFAULT_TTL_MS,
    maxHold,
    line,
    emitter: emitterOf(job, onEvent, { logToJob }),
    queueName: job.queueName,
    jobId: idOf(job),
  };
}

/** @param signal - makes the signal, which only a processor that declares one gets: most never look at it. */
function callProcessor(
  { fn }: GuardedProcessor,
  { self, job, token }: ProcessorCall,
  handle: LockHandle,
  signal: () => AbortSignal,
): any {
  return fn.call(self, job, token, fn.length >= 3 ? signal() : undefined, handle);
}
