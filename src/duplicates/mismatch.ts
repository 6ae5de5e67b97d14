/** `match`: work whose key is held for other data is no duplicate, and fails under every strategy. */

import { MismatchError } from '../core/errors.ts';
import type { Holder } from '../core/holder.ts';
import type { LockRequest } from '../lock/lock-request.ts';

/** @throws MismatchError always. */
export async function refuseMismatch(request: LockRequest, holder: Holder): Promise<never> {
  // It has kept its position in the line, in case that the holder would not come back.
  if (request.terms.line?.kind && holder.state === 'reserved') await request.strikeOut(request.terms.owner);
  request.emitOutcome('mismatched', holder);
  throw new MismatchError(request.terms.key, holder);
}
