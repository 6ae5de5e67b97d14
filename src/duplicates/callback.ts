/** `(job, holder) => …`: the user's function decides what becomes of a duplicate. */

import { type DuplicateHandler, plain, type StrategyForm } from './strategy.ts';

export const callbackForm: StrategyForm = {
  usage: 'a function',
  parse(whenLocked) {
    if (typeof whenLocked !== 'function') return undefined;
    return {
      ...plain,
      outcome: 'handled',
      onHeld(work, holder) {
        work.request.emitOutcome('handled', holder);
        return work.callHandler(whenLocked as DuplicateHandler, holder);
      },
    };
  },
};
