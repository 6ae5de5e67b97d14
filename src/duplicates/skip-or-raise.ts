/**
 * `'skip'` completes a duplicate with no result; `'raise'` fails it with a `LockError`, so that it is retried. While a key is held only
 * because its work was done (`dedupeFor`), there is nothing to retry: then both complete it.
 */

import { LockError } from '../core/errors.ts';
import type { Holder } from '../core/holder.ts';
import type { LockRequest } from '../lock/lock-request.ts';
import { type DuplicateStrategy, plain, type StrategyForm } from './strategy.ts';

export const skip: DuplicateStrategy = {
  ...plain,
  outcome: 'skipped',
  onHeld: ({ request }, holder) => skipDuplicate(request, holder),
};

export const raise: DuplicateStrategy = {
  ...plain,
  outcome: 'raised',
  whenDone: 'skipped',
  onHeld: ({ request }, holder) =>
    holder.state === 'done' ? skipDuplicate(request, holder) : raiseDuplicate(request, holder),
};

export const skipForm: StrategyForm = {
  usage: "'skip'",
  parse: whenLocked => (whenLocked === 'skip' ? skip : undefined),
};

export const raiseForm: StrategyForm = {
  usage: "'raise'",
  takesRaiseIfLock: true,
  parse: whenLocked => (whenLocked === 'raise' ? raise : undefined),
};

/** @param holder - absent where a newer job has come. */
export function skipDuplicate(request: LockRequest, holder: Holder | undefined): undefined {
  request.emitOutcome('skipped', holder);
}

/** @throws LockError always. */
export function raiseDuplicate(request: LockRequest, holder: Holder): never {
  request.emitOutcome('raised', holder);
  throw new LockError(request.terms.key, holder);
}
