/** Shows locks to programs. */

import type { LockInfo } from '../admin/lock-admin.ts';
import { printable } from '../core/printable.ts';

/** One line of JSON for each lock. A lock that never expires has no `expiresIn`. */
export function jsonLines(locks: readonly LockInfo[]): string {
  return locks.map(lock => `${jsonOf(lock)}\n`).join('');
}

/** One line of JSON for each of other things. */
export function jsonLinesOf(things: readonly object[]): string {
  return things.map(thing => `${printable(JSON.stringify(thing))}\n`).join('');
}

/** What a terminal would obey is escaped. It stands in strings only, so the JSON means the same. */
function jsonOf({ expiresIn, ...others }: LockInfo): string {
  return printable(JSON.stringify(Number.isFinite(expiresIn) ? { ...others, expiresIn } : others));
}
