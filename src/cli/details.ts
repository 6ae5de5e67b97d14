/** Shows all that is known of one lock. */

import type { LockInfo } from '../admin/lock-admin.ts';
import { nameOfHolder } from '../core/holder.ts';
import { printable } from '../core/printable.ts';
import { ageOf, timeLeft } from './format.ts';

const NAME_WIDTH = 10;

/**
 * A line for each detail that there is.
 * @param now - in ms since the epoch.
 */
export function detailsOf(lock: LockInfo, now: number): string {
  const { key, queue, scope, state, owner, attempt, fence, since, storedKey } = lock;
  const details: [name: string, value: string | undefined][] = [
    ['key', key],
    ['queue', queue],
    ['scope', scope],
    ['state', state],
    ['holder', nameOfHolder(lock)],
    ['owner', owner],
    ['attempt', attempt > 0 ? String(attempt) : ''],
    ['fence', String(fence)],
    ['acquired', since > 0 ? `${new Date(since).toISOString()} (${ageOf(lock, now)} ago)` : ''],
    [lock.dueIn === undefined ? 'expires in' : 'reserved', timeLeft(lock)],
    ['stored key', storedKey],
  ];
  return details
    .filter(([, value]) => value)
    .map(([name, value]) => `${name.padEnd(NAME_WIDTH)}  ${printable(value as string)}\n`)
    .join('');
}
