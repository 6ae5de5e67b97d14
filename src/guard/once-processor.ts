/** `onceProcessor`: wraps a BullMQ processor, so that a job runs unless its key is held. */

import type { Job } from 'bullmq';
import type { RunningJob } from '../bullmq/job.ts';
import { getOrCreate } from '../core/get-or-create.ts';
import { flag, optional, type Parser, show, withDefault } from '../core/validation.ts';
import { JOB_FORMS, type WhenLocked } from '../duplicates/when-locked.ts';
import { defaultKey } from '../key/default-key.ts';
import { matchFromFunction, matchFromTemplate } from '../key/match.ts';
import { fillTemplate, keyFromFunction, parseTemplate } from '../key/template.ts';
import type { CheckedTemplate, TemplateErrors } from '../key/template-types.ts';
import type { LockHandle } from '../lock/lock-handle.ts';
import type { GuardedProcessor, ProcessorOptions } from './job-context.ts';
import {
  type DecoratedMethod,
  isDecoratorCall,
  type MethodDescriptor,
  methodDecorator,
  refuseGenerator,
} from './method-decorator.ts';
import { type GuardOptions, parseGuardOptions } from './options.ts';
import { processJob } from './process-job.ts';

/** What a job has at least, in a worker and in a sandboxed processor. */
export interface AnyJob {
  readonly data: any;
}

/**
 * A BullMQ processor, with the lock that its job runs under. BullMQ makes a signal only for a processor that declares three
 * parameters or more; `lock.signal` is always there.
 */
export type GuardedFunction<JobType extends AnyJob, Result> = (
  job: JobType,
  token: string | undefined,
  signal: AbortSignal | undefined,
  lock: LockHandle,
) => Result | PromiseLike<Result>;

/**
 * What {@link onceProcessor} makes: a processor for BullMQ's `Worker`, or for the file of a sandboxed processor. A skipped job
 * has no result.
 */
export type OnceProcessor<JobType extends AnyJob, Result> = (
  job: WithAnyResult<JobType>,
  token?: string,
  signal?: AbortSignal,
) => Promise<Result | undefined>;

/** The result in the type of a worker's job is the worker's. It allows for `undefined`, which the processor's need not. */
type WithAnyResult<JobType> =
  JobType extends Job<infer Data, any, infer Name> ? Job<Data, any, Name> : JobType;

/** Options of {@link onceProcessor}. All may be left out. */
export interface OnceProcessorOptions<
  JobType extends AnyJob = Job,
  Template extends string = string,
  Result = any,
  Match extends string = string,
> extends GuardOptions {
  /**
   * What runs once at a time: a template with paths into the job's data (`'welcome-{user.id}'`), or a function of the job.
   * @defaultValue the job's name and a hash of all of its data
   */
  readonly key?: CheckedTemplate<Template, JobType['data']> | ((job: JobType) => string);
  /**
   * What must be equal besides the key for a job to be a duplicate: a template with paths into the job's data (`'{amount}-{currency}'`),
   * or a function of the job. A job that finds its key held, or done, for other data fails with a {@link MismatchError}, under every
   * form of `whenLocked`. BullMQ does not retry it. The compiler checks the placeholders, as those of the key.
   * @defaultValue none: the key says all
   */
  readonly match?: CheckedTemplate<Match, JobType['data']> | ((job: JobType) => string);
  /**
   * What becomes of a job that finds its key held, see {@link WhenLocked}.
   * @defaultValue 'skip'
   */
  readonly whenLocked?: WhenLocked<JobType, Result>;
  /**
   * `true`: a job that failed and will be retried, or that moved itself to delayed, back to waiting or to waiting-children, reserves
   * its key until its next run, so that no duplicate runs in between. The key is free as soon as BullMQ has the job no longer to
   * run. A reservation lasts for `maxHold` at most, or a week.
   * @defaultValue false
   */
  readonly holdThroughRetries?: boolean;
  /**
   * `true`: what becomes of a duplicate is a line in its BullMQ job log, which dashboards show: `skipped: 'welcome-42' is held
   * by job 17 of emails`.
   * @defaultValue false
   */
  readonly logToJob?: boolean;
  /**
   * `false`: what becomes of duplicates is not written to the journal of the queue. Else it can be read for a week, with the keys: by
   * `npx bullmq-once why` and `stats`, on the board, and by {@link LockAdmin.journal}.
   * @defaultValue true
   */
  readonly journal?: boolean;
  /**
   * Locks of one scope exclude each other. Name one to share it across queues, which must then have the same cache.
   * @defaultValue the queue
   */
  readonly scope?: string;
}

/**
 * Decorates a method that is a processor, by the standard's rules and by TypeScript's legacy ones. The method's job must have the
 * fields that the templates of `key` and `match` name, and its result must allow for `undefined`.
 */
export interface OnceProcessorDecorator<
  Template extends string = string,
  Instance = any,
  Match extends string = string,
> {
  <JobType extends AnyJob, Others extends unknown[], Result>(
    method: DecoratedProcessor<JobType, Others, Result, Template, Match>,
    context: ClassMethodDecoratorContext<Instance>,
  ): void;
  <JobType extends AnyJob, Others extends unknown[], Result>(
    target: Instance,
    name: string | symbol,
    descriptor: MethodDescriptor<DecoratedProcessor<JobType, Others, Result, Template, Match>>,
  ): void;
}

type DecoratedProcessor<
  JobType extends AnyJob,
  Others extends unknown[],
  Result,
  Template extends string,
  Match extends string,
> = DecoratedMethod<
  [job: JobType, ...others: Others],
  Result,
  TemplateErrors<Template, JobType['data']> | TemplateErrors<Match, JobType['data']>
>;

/**
 * With a processor alone, jobs of one name with equal data run one at a time.
 *
 * @typeParam Key - as `Match`, makes TypeScript keep the literal types of templates in options that a function of an instance returns:
 * it reads such a function by this signature first, and checks the templates by the next one.
 */
export function onceProcessor<
  Data = any,
  Result = any,
  Name extends string = string,
  Key extends string = string,
  JobType extends AnyJob = Job<Data, any, Name>,
  Match extends string = string,
>(
  fn: GuardedFunction<JobType, Result | { readonly key?: Key; readonly match?: Match }>,
): OnceProcessor<JobType, Result>;
/**
 * Without a processor it makes a decorator for a method that is one, such as `process` of NestJS' `WorkerHost`. The options can
 * be a function of the instance that returns them. It is called at the first job of each instance.
 *
 * @throws TypeError an option is unknown or has a wrong value, or the key's template is malformed. The options of an instance
 * are checked when they are read: each job of the instance fails until they are right.
 * @example
 * ```ts
 * @Processor('emails')
 * class Emails extends WorkerHost {
 *   @onceProcessor({ key: 'welcome-{userId}' })
 *   async process(job: Job<{ userId: number }>, token?: string, signal?: AbortSignal): Promise<void> {}
 * }
 *
 * @onceProcessor((emails: Emails) => ({ key: 'welcome-{userId}', ttl: emails.config.get('ttl') }))
 * ```
 */
export function onceProcessor<
  const Template extends string = string,
  Instance = any,
  const Match extends string = string,
>(
  options?:
    | OnceProcessorOptions<any, Template, any, Match>
    | ((instance: Instance) => OnceProcessorOptions<any, Template, any, Match>),
): OnceProcessorDecorator<Template, NoInfer<Instance>, Match>;
/**
 * Wraps a processor so that a job runs unless its key is held. Such a duplicate completes at once with no result, or becomes
 * what `whenLocked` says. The lock is kept on the connection of the job's own queue. It is renewed while the job runs, and
 * released before BullMQ learns that the job has ended.
 *
 * `fn` is called as `(job, token, signal, lock)`. `signal` aborts when the lock is lost or BullMQ cancels the job. What `fn`
 * returns or throws reaches BullMQ unchanged.
 *
 * It also wraps the default export of a sandboxed processor's file. A job has no connection there: give it a `cache`, and a
 * `ttl` where 30 s are not right.
 *
 * A job fails with a {@link CacheError} if the cache can't say whether its key is held, and with a {@link KeyError} if no key can
 * be built from its data. BullMQ then retries it.
 *
 * @typeParam Template - inferred from the key, as `Match` from `match`. Beside other type arguments TypeScript infers none; then the
 * compiler accepts a template that has at least one field of the data.
 * @typeParam JobType - inferred: BullMQ's `Job`, or its `SandboxedJob`.
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
  const Template extends string = never,
  JobType extends AnyJob = Job<Data, any, Name>,
  const Match extends string = never,
>(
  fn: GuardedFunction<JobType, Result>,
  options: OnceProcessorOptions<JobType, Template, NoInfer<Result>, Match> | undefined,
): OnceProcessor<JobType, Result>;
export function onceProcessor(...given: readonly unknown[]): unknown {
  const [first, second] = given;
  if (typeof first === 'function' && given.length > 1) return guard(first as Fn, parse(second ?? {}));
  if (typeof first === 'function') return processorOrDecorator(first as Fn & OptionsOfInstance);
  if (given.length <= 1 && (first === undefined || (typeof first === 'object' && first !== null))) {
    // Parsed here, where they are written, though the method comes later.
    const options = parse(first ?? {});
    return methodDecorator('onceProcessor', method => guard(method, options));
  }
  throw new TypeError(`onceProcessor: the processor must be a function, not ${show(first)}`);
}

type Fn = GuardedProcessor['fn'];
/** A processor as BullMQ calls it. */
type Wrapped = (this: unknown, job: RunningJob, token?: string, signal?: AbortSignal) => Promise<unknown>;
type OptionsOfInstance = (instance: any) => OnceProcessorOptions;

function guard(fn: Fn, options: ProcessorOptions): Wrapped {
  refuseGenerator('onceProcessor', fn);
  const guarded: GuardedProcessor = { fn, options };
  // BullMQ makes a signal for each job of a processor with three parameters, and none for one with fewer.
  return fn.length >= 3 || options.strategy.needs.signal
    ? function (this: unknown, job, token, signal) {
        return processJob(guarded, { self: this, job, token, signal });
      }
    : function (this: unknown, job, token) {
        return processJob(guarded, { self: this, job, token, signal: undefined });
      };
}

/**
 * A lone function is a processor, or makes the options of a decorated method's instance. What calls the result shows which: BullMQ
 * passes a job, and a decorator's caller passes a method.
 */
function processorOrDecorator(fn: Fn & OptionsOfInstance): (...args: any[]) => unknown {
  const processor = guard(fn, parse({}));
  const decorator = methodDecorator('onceProcessor', method => guardOfInstance(method, fn));
  function either(this: unknown, ...args: unknown[]): unknown {
    return isDecoratorCall(args)
      ? decorator(...(args as Parameters<typeof decorator>))
      : processor.apply(this, args as Parameters<Wrapped>);
  }
  return Object.defineProperty(either, 'length', { value: processor.length });
}

/** Guards a method whose options each instance makes when its first job comes. */
function guardOfInstance(method: Fn, optionsOf: OptionsOfInstance): Wrapped {
  const ofInstances = new WeakMap<object, Wrapped>();
  // It always gets BullMQ's signal: whether the options need it is not known yet.
  return function (this: unknown, job, token, signal) {
    const instance = this as object;
    const guarded = getOrCreate(ofInstances, instance, () => guard(method, parse(optionsOf(instance))));
    return guarded.call(instance, job, token, signal);
  };
}

function parse(options: unknown): ProcessorOptions {
  return parseGuardOptions('onceProcessor', options, JOB_FORMS, {
    key: keyOption,
    match: optional(matchOption),
    holdThroughRetries: withDefault(false, flag),
    logToJob: withDefault(false, flag),
    journal: withDefault(true, flag),
  });
}

const keyOption: Parser<ProcessorOptions['key']> = (key, option) => {
  if (key === undefined) return job => defaultKey(job.name, job.data);
  if (typeof key === 'function') return job => keyFromFunction(() => key(job), 'onceProcessor: the key');
  if (typeof key !== 'string' || key === '') {
    throw new TypeError(
      `${option} must be a template such as 'welcome-{userId}', or a function of the job, not ${show(key)}`,
    );
  }
  const template = parseTemplate(key);
  return job => fillTemplate(template, job.data, "the job's data");
};

const matchOption: Parser<NonNullable<ProcessorOptions['match']>> = (match, option) => {
  if (typeof match === 'function') {
    return job => matchFromFunction(() => match(job), "onceProcessor: the option 'match'");
  }
  if (typeof match !== 'string' || match === '') {
    throw new TypeError(
      `${option} must be a template such as '{amount}-{currency}', or a function of the job, not ${show(match)}`,
    );
  }
  const template = parseTemplate(match, "option 'match'");
  return job => matchFromTemplate(template, job.data, "the job's data");
};
