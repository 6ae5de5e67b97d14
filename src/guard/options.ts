/** The options of `onceProcessor` and `once` beyond those of their locks. */

import { checkMode, type Mode, modeOfProcess } from './mode.ts';
import { type CheckedLeaseOptions, checkLeaseOptions, type LeaseOptions, show } from '../lock/options.ts';
import { checkWhenLocked, type Policy } from '../duplicates/when-locked.ts';

/** The options of everything that guards work. */
export interface GuardOptions extends LeaseOptions {
  /**
   * What happens when the cache can't tell whether the key is held: `'raise'` fails with a {@link CacheError}; `'run'` runs
   * unguarded, for those to whom a run twice is better than none: its `lock` is not held, a warning says so, and the
   * diagnostics channel `bullmq-once:failed` has each case.
   * @defaultValue 'raise'
   */
  readonly onCacheError?: 'raise' | 'run';
  /**
   * `true` is `whenLocked: 'raise'`. Beside `whenLocked: { waitFor }` it says what becomes of work that waited in vain; beside
   * any other it is an error.
   * @defaultValue false
   */
  readonly raiseIfLock?: boolean;
  /**
   * `'observe'`: all work runs, and what would have become of a duplicate is told as its event: a way to try a guard in
   * production. `'off'`: all work runs, and nothing is locked; its `lock` is not held, and its key is empty.
   * @defaultValue what {@link setMode} says, else the environment variable `BULLMQ_ONCE_MODE`, else 'enforce'
   */
  readonly mode?: Mode;
}

/** {@link GuardOptions}, checked. */
export interface CheckedGuardOptions extends CheckedLeaseOptions {
  readonly policy: Policy;
  readonly runUnguarded: boolean;
  readonly mode: Mode | undefined;
}

/**
 * Checks the options of a guard but for its key.
 * @param kinds - what `whenLocked` may be there.
 * @param others - the names of the options beyond {@link GuardOptions}.
 * @throws TypeError an option is unknown, or its value is not one of those that it takes.
 */
export function checkGuardOptions(
  options: GuardOptions,
  of: string,
  kinds: readonly Policy['kind'][],
  others: readonly string[],
): CheckedGuardOptions {
  const known = ['key', 'raiseIfLock', 'whenLocked', 'onCacheError', 'mode', ...others];
  const lease = checkLeaseOptions(options, of, known);
  const { onCacheError = 'raise' } = options;
  if (onCacheError !== 'raise' && onCacheError !== 'run') {
    throw new TypeError(`${of}: option 'onCacheError' must be 'raise' or 'run', not ${show(onCacheError)}`);
  }
  const mode = checkMode(options.mode, `${of}: option 'mode'`);
  // A wrong environment is told here, not when the first job comes.
  modeOfProcess();
  const policy = checkWhenLocked(options, of, kinds);
  return { ...lease, policy, runUnguarded: onCacheError === 'run', mode };
}
