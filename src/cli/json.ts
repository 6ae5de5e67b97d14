/** Shows locks to programs. */

import type { LockInfo } from '../admin/lock-admin.ts';

/** One line of JSON for each lock. A lock that never expires has no `expiresIn`. */
export function jsonLines(locks: readonly LockInfo[]): string {
  return locks.map(lock => `${jsonOf(lock)}\n`).join('');
}

function jsonOf({ expiresIn, ...others }: LockInfo): string {
  return JSON.stringify(Number.isFinite(expiresIn) ? { ...others, expiresIn } : others);
}
