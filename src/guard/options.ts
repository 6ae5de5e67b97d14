/** The options that `onceProcessor` and `once` share, beyond those of their locks. */

import { LINE_METHODS } from '../cache/contract.ts';
import {
  flag,
  oneOf,
  type Parsed,
  type Parser,
  parseOptions,
  show,
  withDefault,
} from '../core/validation.ts';
import type { DuplicateStrategy, GuardedWork, StrategyForm } from '../duplicates/strategy.ts';
import { parseWhenLocked } from '../duplicates/when-locked.ts';
import {
  checkLeaseOptions,
  LEASE_OPTIONS,
  type LeaseOptions,
  type ParsedLeaseOptions,
} from '../lock/options.ts';
import { type Mode, modeLike, modeOfProcess } from './mode.ts';

/** The options of everything that guards work. */
export interface GuardOptions extends LeaseOptions {
  /**
   * What happens when the cache can't say whether the key is held. `'raise'`: the work fails with a {@link CacheError}.
   * `'run'`: it runs without a lock, for those to whom running twice is better than not running. Its `lock` is then not held,
   * a warning says so now and then, and the event `cache-error` is emitted for each.
   * @defaultValue 'raise'
   */
  readonly onCacheError?: 'raise' | 'run';
  /**
   * `true` is short for `whenLocked: 'raise'`. Beside `whenLocked: { waitFor }` it says what becomes of work that waited in
   * vain. Beside any other form it is an error. `false` may stand beside anything.
   * @defaultValue false
   */
  readonly raiseIfLock?: boolean;
  /**
   * `'observe'`: all work runs, and what would have become of a duplicate is emitted as its event: a way to try a guard in
   * production. `'off'`: all work runs, and nothing is locked; its `lock` is not held, and its key is empty.
   * @defaultValue what {@link setMode} says, else the environment variable `BULLMQ_ONCE_MODE`, else 'enforce'
   */
  readonly mode?: Mode;
}

/** {@link GuardOptions}, parsed. */
export interface ParsedGuardOptions<Work extends GuardedWork> extends ParsedLeaseOptions {
  readonly strategy: DuplicateStrategy<Work>;
  readonly failsOpen: boolean;
  readonly mode: Mode | undefined;
}

const GUARD_OPTIONS = {
  ...LEASE_OPTIONS,
  whenLocked: (value: unknown) => value,
  raiseIfLock: withDefault(false, flag),
  onCacheError: withDefault('raise', oneOf(['raise', 'run'])),
  mode: modeLike,
};

/**
 * Parses the options of a guard.
 * @param of - the function whose options they are, for errors.
 * @param forms - the forms that `whenLocked` takes there.
 * @param others - the parsers of the options beyond {@link GuardOptions}.
 * @throws TypeError an option is unknown, or has a wrong value.
 */
export function parseGuardOptions<Work extends GuardedWork, Others extends Record<string, Parser<any>>>(
  of: string,
  options: unknown,
  forms: readonly StrategyForm<Work>[],
  others: Others,
): ParsedGuardOptions<Work> & Parsed<Others> {
  const table = { ...others, ...GUARD_OPTIONS };
  const { whenLocked, raiseIfLock, onCacheError, ...parsed } = parseOptions(of, options, table);
  // A wrong environment variable is reported here, and not when the first job comes.
  modeOfProcess();
  checkLeaseOptions(of, parsed as unknown as ParsedLeaseOptions);
  const strategy = parseWhenLocked(of, { whenLocked, raiseIfLock }, forms);
  const { cache, concurrency } = parsed as unknown as ParsedLeaseOptions;
  if (strategy.needs.onePlace && concurrency > 1) {
    throw new TypeError(
      `${of}: options 'concurrency: ${concurrency}' and 'whenLocked: ${show(whenLocked)}' contradict each other: this form of ` +
        'whenLocked works with one holder at a time; leave one out',
    );
  }
  for (const [option, methods] of [
    ['whenLocked', strategy.needs.methods ?? []],
    ['concurrency', concurrency > 1 ? LINE_METHODS : []],
  ] as const) {
    const missing = typeof cache === 'object' && methods.find(method => !cache[method]);
    if (!missing) continue;
    throw new TypeError(
      `${of}: option '${option}' needs a cache with the method '${missing}', and the option 'cache' has none`,
    );
  }
  return { ...parsed, strategy, failsOpen: onCacheError === 'run' } as never;
}
