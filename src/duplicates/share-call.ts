/** `'share'` of a function: a single flight. Calls wait while the work runs, and all resolve to what it returned. */

import { readResult } from '../lock/kept-result.ts';
import { acquireOrShare } from '../lock/single-flight.ts';
import { SHARE_METHODS } from './share.ts';
import { type DuplicateStrategy, plain, type StrategyForm } from './strategy.ts';

const shareCall: DuplicateStrategy = {
  ...plain,
  needs: { methods: SHARE_METHODS, onePlace: true },
  line: 'together',
  outcome: 'shared',
  acquire: ({ request }) => acquireOrShare(request),
  onHeld({ request }, holder, standing) {
    request.emitOutcome('shared', holder);
    const result = standing?.is === 'answered' ? readResult(standing.result) : undefined;
    return result?.by === holder.owner ? result.value : undefined;
  },
};

export const shareCallForm: StrategyForm = {
  usage: "'share'",
  parse: whenLocked => (whenLocked === 'share' ? shareCall : undefined),
};
