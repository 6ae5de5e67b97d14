/** `once`: guards a function or a method, which then runs once at a time for each key. */

import { isMismatch } from '../cache/lock-rules.ts';
import type { Holder } from '../core/holder.ts';
import { optional, type Parser, show } from '../core/validation.ts';
import { refuseMismatch } from '../duplicates/mismatch.ts';
import type { DuplicateHandler, GuardedWork } from '../duplicates/strategy.ts';
import type { WaitFor } from '../duplicates/wait-in-slot.ts';
import { FUNCTION_FORMS } from '../duplicates/when-locked.ts';
import { matchFromFunction, matchFromTemplate } from '../key/match.ts';
import { newOwner } from '../key/owner-id.ts';
import { fillTemplate, keyFromFunction, parseTemplate, type Template } from '../key/template.ts';
import type { CallTemplateErrors, CheckedCallTemplate } from '../key/template-types.ts';
import { keylessTerms, type LineTerms, lineTerms, placesOnly } from '../lock/lease-terms.ts';
import type { LockHandle } from '../lock/lock-handle.ts';
import type { LockRequest } from '../lock/lock-request.ts';
import { scopedRequest } from '../lock/scoped-request.ts';
import { acquireOrFailOpen } from './fail-open.ts';
import { keeperOfCall } from './keep-result.ts';
import {
  type DecoratedMethod,
  type MethodDescriptor,
  methodDecorator,
  refuseGenerator,
} from './method-decorator.ts';
import { modeOfProcess } from './mode.ts';
import { emitUnlocked, observing } from './observe.ts';
import { type GuardOptions, type ParsedGuardOptions, parseGuardOptions } from './options.ts';

type AnyFunction = (this: any, ...args: any[]) => any;

/** A guarded function: it always returns a promise, of `undefined` where a call was skipped. */
export type Once<Fn extends AnyFunction> = (
  this: ThisParameterType<Fn>,
  ...args: Parameters<Fn>
) => Promise<Awaited<ReturnType<Fn>> | undefined>;

/** Options of {@link once}. Without `cache` its locks are kept in `caches.default`, else in the memory of this process. */
export interface OnceOptions<
  Args extends readonly unknown[] = any[],
  Template extends string = string,
  Match extends string = string,
> extends GuardOptions {
  /**
   * What runs once at a time: a template, or a function of the call's arguments. A placeholder is a path into the first
   * argument, an object of named values (`'invoice-{customer.id}'`). If all placeholders begin with a number, they are paths
   * into the arguments (`'invoice-{0}-{1.id}'`).
   */
  readonly key: CheckedCallTemplate<Template, Args> | ((...args: Args) => string);
  /**
   * What must be equal besides the key for a call to be a duplicate: a template as the key, or a function of the call's arguments. A call
   * that finds its key held, or done, for other data rejects with a {@link MismatchError}.
   * @defaultValue none: the key says all
   */
  readonly match?: CheckedCallTemplate<Match, Args> | ((...args: Args) => string);
  /**
   * What becomes of a call that finds its key held: `'skip'` resolves to `undefined`, `'raise'` rejects with a
   * {@link LockError}, `{ waitFor }` waits for the key, `'share'` waits for the work and resolves to what it returned, and a
   * function's result is the call's.
   * @defaultValue 'skip'
   */
  readonly whenLocked?: 'skip' | 'raise' | 'share' | WaitFor | ((holder: Holder, ...args: Args) => unknown);
}

/**
 * Decorates a method, by the standard's rules and by TypeScript's legacy ones. The method's arguments must have the fields that
 * the templates of `key` and `match` name, and its result must allow for `undefined`.
 */
export interface OnceDecorator<Template extends string = string, Match extends string = string> {
  <Args extends any[], Result>(
    method: DecoratedMethod<
      Args,
      Result,
      CallTemplateErrors<Template, Args> | CallTemplateErrors<Match, Args>
    >,
    context: ClassMethodDecoratorContext<any>,
  ): void;
  <Args extends any[], Result>(
    target: object,
    name: string | symbol,
    descriptor: MethodDescriptor<
      DecoratedMethod<Args, Result, CallTemplateErrors<Template, Args> | CallTemplateErrors<Match, Args>>
    >,
  ): void;
}

/**
 * With options alone it makes a decorator for a method, which keeps its `this`. The type of the method must allow for
 * `undefined`.
 *
 * @example
 * ```ts
 * class Invoices {
 *   @once({ key: 'invoice-{0}', raiseIfLock: true })
 *   async send(id: number): Promise<void> {}
 * }
 * ```
 */
export function once<const Template extends string, const Match extends string = string>(
  options: OnceOptions<any[], Template, Match>,
): OnceDecorator<Template, Match>;
/**
 * Wraps a function so that it runs once at a time for each key. A call that finds its key held is skipped, and resolves to
 * `undefined`.
 *
 * @throws TypeError an option is unknown or has a wrong value, or the key's template is malformed.
 * @example
 * ```ts
 * const refresh = once(async (feed: { url: string }) => download(feed.url), { key: 'feed-{url}' });
 * ```
 */
export function once<
  Fn extends AnyFunction,
  const Template extends string,
  const Match extends string = string,
>(fn: Fn, options: OnceOptions<Parameters<Fn>, Template, Match>): Once<Fn>;
export function once(...given: [AnyFunction, OnceOptions] | [OnceOptions]): AnyFunction {
  if (given.length === 2) {
    const [fn, options] = given;
    if (typeof fn !== 'function') {
      throw new TypeError(`once: the first argument must be a function, not ${typeof fn}`);
    }
    return guard(fn, parse(options));
  }
  if (typeof given[0] === 'function') {
    throw new TypeError("once: the function has no options; write once(fn, { key: '…' })");
  }
  // Parsed here, where they are written, though the method comes later.
  const options = parse(given[0]);
  return methodDecorator('once', method => guard(method, options));
}

interface ParsedOnceOptions extends ParsedGuardOptions<GuardedWork> {
  /** Builds the key of a call. */
  readonly key: (args: readonly unknown[]) => string;
  /** Builds a hash of what must be equal besides the key. */
  readonly match: ((args: readonly unknown[]) => string) | undefined;
}

function parse(options: OnceOptions): ParsedOnceOptions {
  return parseGuardOptions('once', options, FUNCTION_FORMS, { key: keyOption, match: optional(matchOption) });
}

const keyOption: Parser<ParsedOnceOptions['key']> = (key, option) => {
  if (typeof key === 'function') return args => keyFromFunction(() => key(...args), 'once: the key');
  if (typeof key !== 'string' || key === '') {
    throw new TypeError(
      `${option} must be a template such as 'invoice-{id}', or a function that builds the key, not ${show(key)}`,
    );
  }
  const template = parseTemplate(key);
  const inArguments = placeOf(template);
  return args => fillTemplate(template, ...inArguments(args));
};

const matchOption: Parser<NonNullable<ParsedOnceOptions['match']>> = (match, option) => {
  if (typeof match === 'function') {
    return args => matchFromFunction(() => match(...args), "once: the option 'match'");
  }
  if (typeof match !== 'string' || match === '') {
    throw new TypeError(`${option} must be a template such as '{amount}', or a function, not ${show(match)}`);
  }
  const template = parseTemplate(match, "option 'match'");
  const inArguments = placeOf(template);
  return args => matchFromTemplate(template, ...inArguments(args));
};

/** Where the placeholders of a template look: into the arguments if all begin with a number, else into the first. */
function placeOf({ slots }: Template): (args: readonly unknown[]) => [place: unknown, whose: string] {
  const isPositional = slots.every(({ path }) => /^\d+$/.test(path[0] as string));
  return args => (isPositional ? [args, 'the list of arguments'] : [args[0], 'the first argument']);
}

function guard(fn: AnyFunction, options: ParsedOnceOptions): AnyFunction {
  refuseGenerator('once', fn);
  async function guarded(this: unknown, ...args: unknown[]): Promise<unknown> {
    const mode = options.mode ?? modeOfProcess();
    if (mode === 'off') return fn.apply(this, args);
    const isObserved = mode === 'observe';

    let call: FunctionCall;
    try {
      const failsOpen = options.failsOpen || isObserved;
      const line = lineOf(options, { isObserved });
      const match = options.match?.(args);
      const request = scopedRequest(options.key(args), newOwner(), options, { failsOpen, line, match });
      call = new FunctionCall(request, { fn, self: this, args, dedupeFor: options.dedupeFor, isObserved });
    } catch (error) {
      if (!isObserved) throw error;
      emitUnlocked(keylessTerms({ emitter: options.onEvent }), error);
      return fn.apply(this, args);
    }

    const strategy = isObserved ? observing(options.strategy) : options.strategy;
    const attempt = await acquireOrFailOpen<GuardedWork>(call, strategy);
    if (attempt.acquired) return strategy.run(call, attempt.handle);
    const { holder, standing } = attempt;
    if (!isObserved && isMismatch(call.request.terms, holder)) return refuseMismatch(call.request, holder);
    return strategy.onHeld(call, holder, standing);
  }

  // Frameworks look at how many parameters a method declares, as BullMQ does to know who wants a signal.
  Object.defineProperty(guarded, 'length', { value: fn.length });
  Object.defineProperty(guarded, 'name', { value: fn.name });
  return guarded;
}

/** Observed calls wait for nobody. */
function lineOf(
  { strategy, concurrency }: ParsedOnceOptions,
  { isObserved }: { readonly isObserved: boolean },
): LineTerms | undefined {
  return strategy.line && !isObserved ? lineTerms(concurrency, strategy.line) : placesOnly(concurrency);
}

interface CallTerms {
  readonly fn: AnyFunction;
  readonly self: unknown;
  readonly args: readonly unknown[];
  readonly dedupeFor: number;
  readonly isObserved: boolean;
}

/** One call of a guarded function. */
class FunctionCall implements GuardedWork {
  readonly request: LockRequest;
  readonly signal = undefined;
  readonly isObserved: boolean;
  readonly #terms: CallTerms;

  constructor(request: LockRequest, terms: CallTerms) {
    this.request = request;
    this.isObserved = terms.isObserved;
    this.#terms = terms;
  }

  run(handle: LockHandle, wrap?: (work: () => Promise<unknown>) => Promise<unknown>): Promise<unknown> {
    const { fn, self, args, dedupeFor } = this.#terms;
    const work = () => fn.apply(self, [...args]);
    const keep = keeperOfCall(this.request, dedupeFor);
    return handle.runAndRelease(wrap ? () => wrap(work) : work, { dedupeFor, keep });
  }

  callHandler(handler: DuplicateHandler, holder: Holder): unknown {
    const { self, args } = this.#terms;
    return handler.call(self, holder, ...args);
  }
}
