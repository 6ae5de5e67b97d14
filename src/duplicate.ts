/** What becomes of work that finds its key held. */

import type { Holder } from './caches/cache.ts';
import { LockError } from './errors.ts';

/** Skips a duplicate, or raises. */
export function skipOrRaise(raiseIfLock: boolean, key: string, holder: Holder): undefined {
  if (raiseIfLock) throw new LockError(key, holder);
}
