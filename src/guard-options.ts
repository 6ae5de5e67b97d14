/** The options of `onceProcessor` and `once` beyond those of their locks. */

import { type CheckedLeaseOptions, checkLeaseOptions, type LeaseOptions, show } from './options.ts';
import { checkWhenLocked, type Policy } from './when-locked.ts';

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
}

/** {@link GuardOptions}, checked. */
export interface CheckedGuardOptions extends CheckedLeaseOptions {
  readonly policy: Policy;
  readonly runUnguarded: boolean;
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
  const known = ['key', 'raiseIfLock', 'whenLocked', 'onCacheError', ...others];
  const lease = checkLeaseOptions(options, of, known);
  const { onCacheError = 'raise' } = options;
  if (onCacheError !== 'raise' && onCacheError !== 'run') {
    throw new TypeError(`${of}: option 'onCacheError' must be 'raise' or 'run', not ${show(onCacheError)}`);
  }
  return { ...lease, policy: checkWhenLocked(options, of, kinds), runUnguarded: onCacheError === 'run' };
}
