/** Guards a function or a method: it runs once at a time for each key. */

import type { Holder } from '../cache/contract.ts';
import { scopedClaimant } from '../lock/lock-request.ts';
import { methodDecorator } from './method-decorator.ts';
import { claimFor, settle } from '../duplicates/skip-or-raise.ts';
import { type CheckedGuardOptions, checkGuardOptions, type GuardOptions } from './options.ts';
import { HeldLock } from '../lock/lock-handle.ts';
import { fillTemplate, keyFromFunction, parseTemplate } from '../key/template.ts';
import { type Mode, modeOfProcess } from './mode.ts';
import { observe, tellKeyless } from './observe.ts';
import { newOwner } from '../lock/owner-id.ts';
import { PLAIN_KINDS, type WaitFor } from '../duplicates/when-locked.ts';

type AnyFunction = (this: any, ...args: any[]) => any;

/** A guarded function: it always returns a promise, of `undefined` where a call was skipped. */
export type Once<Fn extends AnyFunction> = (
  this: ThisParameterType<Fn>,
  ...args: Parameters<Fn>
) => Promise<Awaited<ReturnType<Fn>> | undefined>;

/** Options of {@link once}. Without `cache` its locks are kept in `caches.default`, else in the memory of this process. */
export interface OnceOptions<Args extends readonly unknown[] = any[]> extends GuardOptions {
  /**
   * What may run once at a time: a template, or a function of the call's arguments. A placeholder is a path into the
   * first argument, an object of named values (`'invoice-{customer.id}'`). Where all of them begin with a number they
   * are paths into the arguments (`'invoice-{0}-{1.id}'`).
   */
  readonly key: string | ((...args: Args) => string);
  /**
   * What becomes of a call that finds its key held: `'skip'` resolves to `undefined`, `'raise'` rejects with a
   * {@link LockError}, `{ waitFor }` waits its turn, and a function's result is the call's.
   * @defaultValue 'skip'
   */
  readonly whenLocked?: 'skip' | 'raise' | WaitFor | ((holder: Holder, ...args: Args) => unknown);
}

/** Decorates a method, by the standard and by TypeScript's legacy rules. */
export interface OnceDecorator {
  <Fn extends AnyFunction>(method: Fn, context: ClassMethodDecoratorContext): Once<Fn>;
  <Fn extends AnyFunction>(
    target: object,
    name: string | symbol,
    descriptor: TypedPropertyDescriptor<Fn>,
  ): void;
}

/**
 * Wraps a function so that it runs once at a time for each key; a call that finds its key held is skipped, and
 * resolves to `undefined`. With options alone it makes a decorator for a method, which keeps its `this`, and whose
 * type must allow for `undefined`.
 *
 * @throws TypeError an option is unknown or has a wrong value, or the key's template is malformed.
 * @example
 * ```ts
 * const refresh = once(async (feed: { url: string }) => download(feed.url), { key: 'feed-{url}' });
 *
 * class Invoices {
 *   @once({ key: 'invoice-{0}', raiseIfLock: true })
 *   async send(id: number) {}
 * }
 * ```
 */
export function once<Fn extends AnyFunction>(fn: Fn, options: OnceOptions<Parameters<Fn>>): Once<Fn>;
export function once(options: OnceOptions): OnceDecorator;
export function once(...given: [AnyFunction, OnceOptions] | [OnceOptions]): AnyFunction {
  if (given.length === 2) {
    const [fn, options] = given;
    if (typeof fn !== 'function')
      throw new TypeError(`once: the first argument must be a function, not ${typeof fn}`);
    return guard(fn, check(options));
  }
  // Checked here, where they are written, though the method comes later.
  const settings = check(given[0]);
  return methodDecorator('once', method => guard(method, settings));
}

interface Settings extends CheckedGuardOptions {
  readonly keyOf: (args: readonly unknown[]) => string;
}

function check(options: OnceOptions): Settings {
  return { ...checkGuardOptions(options, 'once', PLAIN_KINDS, []), keyOf: keyBuilder(options.key) };
}

function keyBuilder(key: OnceOptions['key']): Settings['keyOf'] {
  if (typeof key === 'function') return args => keyFromFunction(() => key(...args), 'once: the key');
  if (typeof key !== 'string') {
    throw new TypeError(
      "once: option 'key' must be a template such as 'invoice-{id}', or a function that builds the key",
    );
  }
  const template = parseTemplate(key);
  const positional = template.slots.every(({ path }) => /^\d+$/.test(path[0] as string));
  return positional
    ? args => fillTemplate(template, args, 'the list of arguments')
    : args => fillTemplate(template, args[0], 'the first argument');
}

function guard(fn: AnyFunction, settings: Settings): AnyFunction {
  const { keyOf, policy, keepFor } = settings;
  async function guarded(this: unknown, ...args: unknown[]): Promise<unknown> {
    const work = () => fn.apply(this, args);
    const mode = settings.mode ?? modeOfProcess();
    if (mode !== 'enforce') return runAnyway(mode, args, work);
    const claimant = scopedClaimant(keyOf(args), settings, newOwner(), settings.runUnguarded);
    const claim = await claimFor(claimant, settings);
    if (!(claim instanceof HeldLock)) {
      return settle(policy, claimant, claim, answer => answer.call(this, claim, ...args));
    }
    return claim.whileHeld(keepFor, work);
  }

  async function runAnyway(mode: Mode, args: readonly unknown[], work: () => unknown): Promise<unknown> {
    const lock = mode === 'observe' ? await observed(args) : undefined;
    return lock ? lock.whileHeld(keepFor, work) : work();
  }

  async function observed(args: readonly unknown[]): Promise<HeldLock | undefined> {
    try {
      return await observe(scopedClaimant(keyOf(args), settings, newOwner(), true), settings);
    } catch (error) {
      tellKeyless(settings, error);
      return undefined;
    }
  }

  // Frameworks look at how many parameters a method declares; BullMQ does, to know who wants a signal.
  Object.defineProperty(guarded, 'length', { value: fn.length });
  Object.defineProperty(guarded, 'name', { value: fn.name });
  return guarded;
}
