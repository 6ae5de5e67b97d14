/** The option `whenLocked`: the forms that it takes, and the strategy that each stands for. */

import type { Holder } from '../core/holder.ts';
import { eitherOf, show } from '../core/validation.ts';
import { callbackForm } from './callback.ts';
import { type Delay, delayForm } from './delay.ts';
import { inOrderForm } from './in-order.ts';
import { keepLastForm } from './keep-last.ts';
import { replaceForm } from './replace.ts';
import { shareForm } from './share.ts';
import { shareCallForm } from './share-call.ts';
import { raise, raiseForm, skip, skipForm } from './skip-or-raise.ts';
import type { DuplicateStrategy, GuardedJob, GuardedWork, StrategyForm } from './strategy.ts';
import { type WaitFor, waitInSlotForm } from './wait-in-slot.ts';

/** Decides what becomes of a duplicate: what it returns is the job's result, what it throws its failure. */
export type OnDuplicate<Job, Result> = (
  job: Job,
  holder: Holder,
) => Result | undefined | PromiseLike<Result | undefined>;

/**
 * What becomes of a job that finds its key held:
 * - `'skip'`: it completes with no result;
 * - `'raise'`: it fails with a {@link LockError}; its attempts and backoff apply; where the work was done (`dedupeFor`) it completes;
 * - {@link Delay}: it is delayed, and tried again;
 * - {@link WaitFor}: it waits in its slot of the worker;
 * - `'in-order'`: it is parked, and all run, one after another, in the order in which BullMQ handed them out;
 * - `'keep-last'`: the newest is parked, and runs when the holder is done; older ones are skipped;
 * - `'replace'`: as `'keep-last'`, and the signal of the running job aborts;
 * - `'share'`: it is parked until the work is done, and completes with its result;
 * - a function: whatever it returns or throws.
 */
export type WhenLocked<Job = any, Result = any> =
  | 'skip'
  | 'raise'
  | 'in-order'
  | 'keep-last'
  | 'replace'
  | 'share'
  | Delay<Job>
  | WaitFor
  | OnDuplicate<Job, Result>;

/** The forms for any function. */
export const FUNCTION_FORMS: readonly StrategyForm<GuardedWork>[] = [
  skipForm,
  raiseForm,
  shareCallForm,
  waitInSlotForm,
  callbackForm,
];

/** The forms for a job. */
export const JOB_FORMS: readonly StrategyForm<GuardedJob>[] = [
  skipForm,
  raiseForm,
  waitInSlotForm,
  callbackForm,
  delayForm,
  inOrderForm,
  keepLastForm,
  replaceForm,
  shareForm,
];

/**
 * Chooses the strategy for duplicates.
 * @param of - the function whose options they are, for errors.
 * @param forms - the forms that `whenLocked` takes there.
 * @throws TypeError it has none of these forms, or contradicts `raiseIfLock`.
 */
export function parseWhenLocked<Work extends GuardedWork>(
  of: string,
  { whenLocked, raiseIfLock }: { readonly whenLocked: unknown; readonly raiseIfLock: boolean },
  forms: readonly StrategyForm<Work>[],
): DuplicateStrategy<Work> {
  if (whenLocked === undefined) return raiseIfLock ? raise : skip;
  const option = `${of}: option 'whenLocked'`;
  for (const form of forms) {
    const strategy = form.parse(whenLocked, { option, raiseIfLock });
    if (!strategy) continue;
    if (raiseIfLock && !form.takesRaiseIfLock) {
      throw new TypeError(
        `${of}: options 'raiseIfLock: true' and 'whenLocked: ${show(whenLocked)}' contradict each other, leave one out ` +
          `(raiseIfLock: true is short for whenLocked: 'raise')`,
      );
    }
    return strategy;
  }
  const usages = eitherOf(forms.map(({ usage }) => usage));
  throw new TypeError(`${option} must be ${usages}, not ${show(whenLocked)}`);
}
