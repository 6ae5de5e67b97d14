/** `match`: work whose key is held for other data is no duplicate, and fails under every strategy. */

import { MismatchError } from '../core/errors.ts';
import type { Holder } from '../core/holder.ts';
import type { LockRequest } from '../lock/lock-request.ts';

/** @throws MismatchError always. */
export function refuseMismatch(request: LockRequest, holder: Holder): never {
  request.emitOutcome('mismatched', holder);
  throw new MismatchError(request.terms.key, holder);
}
