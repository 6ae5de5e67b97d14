/** Shows locks to programs. */

import type { LockInfo } from '../admin/lock-admin.ts';
import { UNPRINTABLE } from './format.ts';

/** One line of JSON for each lock. A lock that never expires has no `expiresIn`. */
export function jsonLines(locks: readonly LockInfo[]): string {
  return locks.map(lock => `${jsonOf(lock)}\n`).join('');
}

function jsonOf({ expiresIn, ...others }: LockInfo): string {
  return escapeJson(JSON.stringify(Number.isFinite(expiresIn) ? { ...others, expiresIn } : others));
}

/** Escapes what a terminal would obey. It stands in strings only, so the JSON means the same. */
function escapeJson(json: string): string {
  return json.replace(UNPRINTABLE, found => found.split('').map(escapeUnit).join(''));
}

function escapeUnit(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
