/** Whether the result of work is kept: where its key stays held as done, or others are parked for it. */

import { keptResult } from '../lock/kept-result.ts';
import type { Ending } from '../lock/lock-handle.ts';
import type { LockRequest } from '../lock/lock-request.ts';

export function keeperFor({ cache, terms }: LockRequest, dedupeFor: number): Ending['keep'] {
  const isAskedFor = dedupeFor > 0 || terms.line?.kind === 'together';
  return isAskedFor && cache.results ? result => keptResult(terms.owner, result) : undefined;
}
