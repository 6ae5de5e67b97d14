/** `{ waitFor }`: a duplicate waits in its slot of the worker; if the wait is in vain it is skipped, or raises. */

import { asError } from '../core/errors.ts';
import { ms } from '../core/validation.ts';
import { acquireInTurn } from '../lock/wait-queue.ts';
import { raiseDuplicate, skipDuplicate } from './skip-or-raise.ts';
import { type DuplicateStrategy, parseForm, plain, type StrategyForm } from './strategy.ts';

/** The duplicate waits for its key, for this time at most, in whole ms. Then it is skipped, or raises with `raiseIfLock: true`. */
export interface WaitFor {
  readonly waitFor: number;
}

export const waitInSlotForm: StrategyForm = {
  usage: '{ waitFor: ms }',
  takesRaiseIfLock: true,
  parse(whenLocked, context) {
    const form = parseForm(whenLocked, context, 'waitFor', { waitFor: ms(0) });
    return form && waitInSlot(form.waitFor, context);
  },
};

function waitInSlot(waitFor: number, { raiseIfLock }: { raiseIfLock: boolean }): DuplicateStrategy {
  return {
    ...plain,
    needs: { signal: true },
    waits: true,
    outcome: raiseIfLock ? 'raised' : 'skipped',
    async acquire({ request, signal, isObserved }) {
      try {
        const mayOwnLease = request.terms.attempt > 1;
        const wait = { waitFor, signal, mayOwnLease, keepsAlive: !isObserved, waitsForOthersOnly: true };
        return await acquireInTurn(request, wait);
      } catch (error) {
        // BullMQ may cancel a job for a reason that is only a string, and can record only an error.
        throw asError(error);
      }
    },
    onHeld: ({ request }, holder) =>
      raiseIfLock ? raiseDuplicate(request, holder) : skipDuplicate(request, holder),
  };
}
