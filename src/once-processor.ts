/** Wraps a BullMQ processor: a job runs unless the work that its key names is being done already. */

import type { Job, SandboxedJob } from 'bullmq';
import { attemptOf, type JobLike, ownerOf } from './bullmq/job-owner.ts';
import { findQueueCache, knownQueueCache, lockDurationOf, type QueueCache } from './bullmq/queue-cache.ts';
import type { Holder } from './caches/cache.ts';
import { cacheFrom, cacheOfQueue } from './caches/registry.ts';
import { skipOrRaise } from './duplicate.ts';
import { LockError } from './errors.ts';
import { HeldLock } from './held-lock.ts';
import { keeperOf } from './keeper.ts';
import { queueName, scopedName } from './key/name.ts';
import { defaultKey } from './key/payload.ts';
import type { CheckedTemplate } from './key/placeholders.ts';
import { fillTemplate, keyFromFunction, parseTemplate } from './key/template.ts';
import { KeptLease } from './lease.ts';
import {
  type CheckedGuardOptions,
  type CheckedLeaseOptions,
  checkGuardOptions,
  DEFAULTS,
  type LeaseOptions,
} from './options.ts';

/**
 * A BullMQ processor, plus the lock that its job runs under. BullMQ makes a signal only for a processor that
 * declares three parameters or more.
 */
export type GuardedFunction<Data, Result, Name extends string> = (
  job: Job<Data, any, Name>,
  token: string | undefined,
  signal: AbortSignal | undefined,
  lock: HeldLock,
) => Result | PromiseLike<Result>;

/** The like in a sandboxed processor, where a job is what BullMQ sends to the process or thread. */
export type SandboxedFunction<Data, Result> = (
  job: SandboxedJob<Data>,
  token: string | undefined,
  signal: AbortSignal | undefined,
  lock: HeldLock,
) => Result | PromiseLike<Result>;

/** What {@link onceProcessor} makes: a processor for BullMQ's `Worker`. A skipped job has no result. */
export type OnceProcessor<Data, Result, Name extends string> = (
  job: Job<Data, any, Name>,
  token?: string,
  signal?: AbortSignal,
) => Promise<Result | undefined>;

/** Options of {@link onceProcessor}. All can be left out. */
export interface OnceProcessorOptions<
  Data = any,
  Name extends string = string,
  Template extends string = string,
> extends LeaseOptions {
  /**
   * What may run once at a time: a template with paths into the job's data (`'welcome-{user.id}'`), or a function
   * of the job.
   * @defaultValue the job's name and a hash of all of its data
   */
  readonly key?: (Template & CheckedTemplate<Template, Data>) | ((job: Job<Data, any, Name>) => string);
  /**
   * `true`: a job that finds its key held fails with a {@link LockError} instead of being skipped. Its attempts and
   * backoff apply: without a backoff it burns all attempts within milliseconds.
   * @defaultValue false
   */
  readonly raiseIfLock?: boolean;
  /**
   * Locks of one scope exclude each other. Name one to share it across queues, which must have the same cache then.
   * @defaultValue the queue
   */
  readonly scope?: string;
}

/** Options of {@link onceProcessor} in a sandboxed processor. */
export interface OnceSandboxedOptions<Data = any, Template extends string = string>
  extends Omit<OnceProcessorOptions<Data, string, Template>, 'key'> {
  /** As in {@link OnceProcessorOptions}. */
  readonly key?: (Template & CheckedTemplate<Template, Data>) | ((job: SandboxedJob<Data>) => string);
}

/** What {@link onceProcessor} makes in a sandboxed processor. */
export type OnceSandboxed<Data, Result> = (
  job: SandboxedJob<Data>,
  token?: string,
  signal?: AbortSignal,
) => Promise<Result | undefined>;

/**
 * Wraps a processor so that a job runs unless the work that its key names is being done. Such a duplicate completes
 * at once with no result, or fails where `raiseIfLock` says so. The lock is kept on the connection of the job's own
 * queue, is renewed while the job runs, and is let go before BullMQ is told that the job has ended.
 *
 * `fn` is called as `(job, token, signal, lock)`. Declare `signal` to be told when the lock is lost, or BullMQ cancels
 * the job. Whatever `fn` returns or throws reaches BullMQ unchanged.
 *
 * A job that can't get a verdict fails with a {@link CacheError}, one that no key can be built for with a
 * {@link KeyError}; both are for BullMQ to retry.
 *
 * @throws TypeError an option is unknown or has a wrong value, or the key's template is malformed.
 * @example
 * ```ts
 * new Worker('emails', onceProcessor(sendWelcome, { key: 'welcome-{userId}' }), { connection });
 * ```
 */
export function onceProcessor<
  Data = any,
  Result = any,
  Name extends string = string,
  const Template extends string = string,
>(
  fn: GuardedFunction<Data, Result, Name>,
  options?: OnceProcessorOptions<Data, Name, Template>,
): OnceProcessor<Data, Result, Name>;
/**
 * Wraps the default export of a sandboxed processor's file. A job has no connection there: give it a `cache`, and a `ttl`
 * where 30 s are not right.
 *
 * @example
 * ```ts
 * const cache = new RedisCache(new Redis());
 * export default onceProcessor(sendWelcome, { key: 'welcome-{userId}', cache });
 * ```
 */
export function onceProcessor<Data = any, Result = any, const Template extends string = string>(
  fn: SandboxedFunction<Data, Result>,
  options?: OnceSandboxedOptions<Data, Template>,
): OnceSandboxed<Data, Result>;
export function onceProcessor(
  fn: (job: any, token: string | undefined, signal: AbortSignal | undefined, lock: HeldLock) => any,
  options: AnyOptions = {},
): (job: any, token?: string, signal?: AbortSignal) => Promise<any> {
  if (typeof fn !== 'function') {
    throw new TypeError(`onceProcessor: the processor must be a function, not ${typeof fn}`);
  }
  const settings = check(options);
  const wantsSignal = fn.length >= 3;
  type GuardedJob = Job<any, any, any>;

  async function run(
    worker: unknown,
    job: GuardedJob,
    token?: string,
    signal?: AbortSignal,
  ): Promise<unknown> {
    const name = settings.keyOf(job);
    const home = homeOf(job, settings) ?? (await findQueueCache(job));
    const keeper = keeperOf(home.cache);
    const lease = leaseFor(job, name, settings);
    const verdict = await keeper.claim(lease);
    if (!verdict.taken) return onHeld(lease, verdict.holder, settings.raiseIfLock);
    const held = new HeldLock(keeper, lease, home.inOrder);
    if (signal) held.follow(signal);
    return held.whileHeld(settings.keepFor, () =>
      fn.call(worker, job, token, wantsSignal ? held.signal : undefined, held),
    );
  }

  // BullMQ makes a signal for each job of a processor with three parameters, and none for one with fewer.
  return wantsSignal
    ? function guarded(this: unknown, job: GuardedJob, token?: string, signal?: AbortSignal) {
        return run(this, job, token, signal);
      }
    : function guarded(this: unknown, job: GuardedJob, token?: string) {
        return run(this, job, token);
      };
}

interface Settings extends CheckedGuardOptions {
  readonly keyOf: (job: JobLike) => string;
}

/** Options as they come, of any data: their types were checked where they were written. */
type AnyOptions = OnceProcessorOptions<any, any, any>;

function check(options: AnyOptions): Settings {
  return { ...checkGuardOptions(options, 'onceProcessor'), keyOf: keyBuilder(options.key) };
}

function keyBuilder(key: string | ((job: any) => string) | undefined): Settings['keyOf'] {
  if (key === undefined) return job => defaultKey(job.name, job.data);
  if (typeof key === 'function') return job => keyFromFunction(() => key(job), 'onceProcessor: the key');
  if (typeof key !== 'string') {
    throw new TypeError(
      `onceProcessor: option 'key' must be a template such as 'welcome-{userId}', or a function of the job, not ${typeof key}`,
    );
  }
  const template = parseTemplate(key);
  return job => fillTemplate(template, job.data, "the job's data");
}

/** Where the job's lock is kept; nothing where that is its queue's connection, and no job has come by it yet. */
function homeOf(job: JobLike, { cache: option }: CheckedLeaseOptions): QueueCache | undefined {
  const cache = option === undefined ? cacheOfQueue(job.queueName) : cacheFrom(option);
  return cache ? { cache, inOrder: false } : knownQueueCache(job);
}

function leaseFor(job: JobLike, name: string, { scope, ttl, maxHold }: CheckedLeaseOptions): KeptLease {
  return new KeptLease({
    key: scope === undefined ? queueName(job.queueQualifiedName, name) : scopedName(scope, name),
    name,
    owner: ownerOf(job),
    attempt: attemptOf(job),
    ttl: ttl ?? lockDurationOf(job) ?? DEFAULTS.ttl,
    maxHold,
  });
}

/** A job whose key is held by itself is no duplicate: its work is done, or a newer run of it is under way. */
function onHeld({ name, owner }: KeptLease, holder: Holder, raiseIfLock: boolean): undefined {
  if (holder.owner !== owner) return skipOrRaise(raiseIfLock, name, holder);
  if (holder.state === 'running') throw new LockError(name, holder);
}
