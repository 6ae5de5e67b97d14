/** Wraps a BullMQ processor: a job runs unless the work that its key names is being done already. */

import type { Job, SandboxedJob } from 'bullmq';
import { type FailingJob, holdOn } from '../bullmq/retries.ts';
import { attemptOf, type JobLike, ownerOf } from '../bullmq/job.ts';
import { tellerOf } from '../bullmq/job-events.ts';
import { KeepLast } from '../duplicates/keep-last.ts';
import { warnOfMistakes } from '../bullmq/config-warnings.ts';
import { retryLater } from '../bullmq/delay.ts';
import { findQueueCache, knownQueueCache, lockDurationOf, type QueueCache } from '../bullmq/queue-cache.ts';
import { isStillOurs, mayHaveStalled } from '../bullmq/job-ownership.ts';
import type { Task } from './job-context.ts';
import type { Holder } from '../cache/contract.ts';
import { cacheFrom, cacheOfQueue } from '../cache/registry.ts';
import { Claimant } from '../lock/lock-request.ts';
import { methodDecorator } from './method-decorator.ts';
import { claimFor, settle } from '../duplicates/skip-or-raise.ts';
import { LockError, LockLostError } from '../core/errors.ts';
import { type CheckedGuardOptions, checkGuardOptions, type GuardOptions } from './options.ts';
import { HeldLock } from '../lock/lock-handle.ts';
import { jobName } from '../key/stored-name.ts';
import { defaultKey } from '../key/canonical-json.ts';
import type { CheckedTemplate } from '../key/template-types.ts';
import { fillTemplate, keyFromFunction, parseTemplate } from '../key/template.ts';
import { type Mode, modeOfProcess } from './mode.ts';
import { noLock, observe, tellKeyless } from './observe.ts';
import { type CheckedLeaseOptions, checkFlag, DEFAULTS } from '../lock/options.ts';
import { ALL_KINDS, type WhenLocked } from '../duplicates/when-locked.ts';

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
  Result = any,
> extends GuardOptions {
  /**
   * What may run once at a time: a template with paths into the job's data (`'welcome-{user.id}'`), or a function
   * of the job.
   * @defaultValue the job's name and a hash of all of its data
   */
  readonly key?: (Template & CheckedTemplate<Template, Data>) | ((job: Job<Data, any, Name>) => string);
  /**
   * What becomes of a job that finds its key held, see {@link WhenLocked}.
   * @defaultValue 'skip'
   */
  readonly whenLocked?: WhenLocked<Job<Data, any, Name>, Result>;
  /**
   * `true`: a job that failed and will be retried, or that moved itself to delayed, back to waiting or to waiting-children, keeps
   * its key until its next run, so that no duplicate slips in between; it lets go when it fails for good. Where its worker
   * dies meanwhile, the key is free a `ttl` after the job's time.
   * @defaultValue false
   */
  readonly holdThroughRetries?: boolean;
  /**
   * `true`: what becomes of a duplicate is a line in its job's log, which dashboards show: `skipped: 'welcome-42' is held by
   * job 17 of emails for another 12 s`.
   * @defaultValue false
   */
  readonly log?: boolean;
  /**
   * Locks of one scope exclude each other. Name one to share it across queues, which must have the same cache then.
   * @defaultValue the queue
   */
  readonly scope?: string;
}

/** Options of {@link onceProcessor} in a sandboxed processor. */
export interface OnceSandboxedOptions<Data = any, Template extends string = string, Result = any>
  extends Omit<OnceProcessorOptions<Data, string, Template>, 'key' | 'whenLocked'> {
  /** As in {@link OnceProcessorOptions}. */
  readonly key?: (Template & CheckedTemplate<Template, Data>) | ((job: SandboxedJob<Data>) => string);
  /** As in {@link OnceProcessorOptions}. */
  readonly whenLocked?: WhenLocked<SandboxedJob<Data>, Result>;
}

/** Decorates a method that is a processor, by the standard and by TypeScript's legacy rules. */
export interface OnceProcessorDecorator {
  <Fn extends (job: any, ...others: any[]) => Promise<any>>(
    method: Fn,
    context: ClassMethodDecoratorContext,
  ): (...args: Parameters<Fn>) => Promise<Awaited<ReturnType<Fn>> | undefined>;
  <Fn extends (job: any, ...others: any[]) => Promise<any>>(
    target: object,
    name: string | symbol,
    descriptor: TypedPropertyDescriptor<Fn>,
  ): void;
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
  options?: OnceProcessorOptions<Data, Name, Template, NoInfer<Result>>,
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
  options?: OnceSandboxedOptions<Data, Template, NoInfer<Result>>,
): OnceSandboxed<Data, Result>;
/**
 * With options alone it makes a decorator for a method that is a processor, such as `process` of NestJS' `WorkerHost`.
 *
 * @example
 * ```ts
 * @Processor('emails')
 * class Emails extends WorkerHost {
 *   @onceProcessor({ key: 'welcome-{userId}' })
 *   async process(job: Job<{ userId: number }>, token?: string, signal?: AbortSignal) {}
 * }
 * ```
 */
export function onceProcessor(options: OnceProcessorOptions): OnceProcessorDecorator;
export function onceProcessor(...given: [AnyProcessor, (AnyOptions | undefined)?] | [AnyOptions]): unknown {
  const [fn] = given;
  if (typeof fn === 'function') return guard(fn, check(given[1] ?? {}));
  if (given.length === 1 && typeof fn === 'object' && fn !== null) {
    // Checked here, where they are written, though the method comes later.
    const settings = check(fn);
    return methodDecorator('onceProcessor', method => guard(method, settings));
  }
  throw new TypeError(`onceProcessor: the processor must be a function, not ${typeof fn}`);
}

type AnyProcessor = (
  job: any,
  token: string | undefined,
  signal: AbortSignal | undefined,
  lock: HeldLock,
) => any;

function guard(
  fn: AnyProcessor,
  settings: Settings,
): (job: any, token?: string, signal?: AbortSignal) => Promise<any> {
  const { policy, keepFor, holdThroughRetries } = settings;
  const passesSignal = fn.length >= 3;
  const wantsSignal = passesSignal || policy.kind === 'wait';
  type GuardedJob = Job<any, any, any>;
  let isChecked = false;

  async function run(
    worker: unknown,
    job: GuardedJob,
    token?: string,
    signal?: AbortSignal,
  ): Promise<unknown> {
    const mode = settings.mode ?? modeOfProcess();
    if (mode !== 'enforce') return runAnyway(mode, worker, job, token, signal);
    const since = performance.now();
    const name = settings.keyOf(job);
    const home = homeOf(job, settings) ?? (await findQueueCache(job));
    const task = taskFor(job, token, name, settings, home, since);
    if (!isChecked) {
      isChecked = true;
      warnOfMistakes(job, home.cache, settings.ttl);
    }
    const claim = await claimFor(task.claimant, settings, signal, task.owner);
    if (!(claim instanceof HeldLock)) return onHeld(task, settings, claim);
    if (mayHaveStalled(job, since) && !(await isStillOurs(job, token))) {
      await claim.release();
      throw new LockLostError(name, 'stalled');
    }
    if (signal) claim.follow(signal);
    const work = () => fn.call(worker, job, token, passesSignal ? claim.signal : undefined, claim);
    const onFailure = holdThroughRetries
      ? (error: unknown) => holdOn(claim, task.job, error, task.ttl)
      : undefined;
    const isGuarded = claim.fence > 0;
    return policy.kind === 'keep-last' && isGuarded
      ? new KeepLast(task).run(claim, keepFor, work, onFailure)
      : claim.whileHeld(keepFor, work, onFailure);
  }

  /** The signal that the work is given is BullMQ's: work that is only observed is not told of a lock that is lost. */
  async function runAnyway(
    mode: Mode,
    worker: unknown,
    job: GuardedJob,
    token: string | undefined,
    signal: AbortSignal | undefined,
  ): Promise<unknown> {
    const none = noLock(settings, job);
    if (signal) none.follow(signal);
    const lock = mode === 'observe' ? await observed(job, token, settings) : none;
    const work = () => fn.call(worker, job, token, passesSignal ? none.signal : undefined, lock);
    return lock.whileHeld(keepFor, work);
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
  readonly holdThroughRetries: boolean;
  readonly log: boolean;
}

/** Options as they come, of any data: their types were checked where they were written. */
type AnyOptions = OnceProcessorOptions<any, any, any> | OnceSandboxedOptions<any, any>;

function check(options: AnyOptions): Settings {
  const of = 'onceProcessor';
  const guard = checkGuardOptions(options, of, ALL_KINDS, ['holdThroughRetries', 'log']);
  const { holdThroughRetries = false, log = false } = options;
  checkFlag(holdThroughRetries, of, 'holdThroughRetries');
  checkFlag(log, of, 'log');
  if (guard.policy.kind === 'keep-last' && typeof guard.cache === 'object' && !guard.cache.announce) {
    throw new TypeError(
      `${of}: whenLocked: 'keep-last' needs a cache with the method 'announce', and that of option 'cache' has none`,
    );
  }
  return { ...guard, keyOf: keyBuilder(options.key), holdThroughRetries, log };
}

function keyBuilder(key: AnyOptions['key']): Settings['keyOf'] {
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

function taskFor(
  job: JobLike,
  token: string | undefined,
  name: string,
  { scope, ttl: option, maxHold, teller: ofAll, runUnguarded, log }: Settings,
  { cache, inOrder }: QueueCache,
  since: number,
): Task {
  const key = jobName(job, scope, name);
  const owner = ownerOf(job);
  const ttl = option ?? lockDurationOf(job) ?? DEFAULTS.ttl;
  const teller = tellerOf(job, ofAll, log);
  const request = {
    key,
    name,
    owner,
    attempt: attemptOf(job),
    ttl,
    maxHold,
    since,
    teller,
    runsAnyway: runUnguarded,
    queueName: job.queueName,
    jobId: job.id,
  };
  // The types hide the worker that it carries.
  const running = job as FailingJob;
  return { job: running, token, name, owner, ttl, scope, claimant: new Claimant(cache, request, inOrder) };
}

/** Claims the key of a job that runs in any case. */
async function observed(job: JobLike, token: string | undefined, settings: Settings): Promise<HeldLock> {
  try {
    const since = performance.now();
    const name = settings.keyOf(job);
    const home = homeOf(job, settings) ?? (await findQueueCache(job));
    const always = { ...settings, runUnguarded: true };
    return await observe(taskFor(job, token, name, always, home, since).claimant, settings);
  } catch (error) {
    tellKeyless(settings, error, job);
    return noLock(settings, job);
  }
}

/** A job whose key is held by itself is no duplicate: its work is done, or a newer run of it is under way. */
function onHeld(task: Task, { policy }: Settings, holder: Holder): unknown {
  const { job, name, owner, claimant } = task;
  if (holder.owner === owner) {
    claimant.tell(holder.state === 'running' ? 'raised' : 'skipped', holder);
    if (holder.state === 'running') throw new LockError(name, holder);
    return undefined;
  }
  if (policy.kind === 'retry') return retryLater(task, policy, holder);
  if (policy.kind === 'keep-last') return new KeepLast(task).wait(holder);
  return settle(policy, claimant, holder, answer => answer(job, holder));
}
