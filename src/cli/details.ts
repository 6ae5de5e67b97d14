/** Shows all that is known of one lock. */

import { describeResult, type LockInfo } from '../admin/lock-admin.ts';
import { nameOfHolder } from '../core/holder.ts';
import { printable } from '../core/printable.ts';
import { ageOf, dateOf, timeLeft } from './format.ts';

const NAME_WIDTH = 10;

/**
 * A line for each detail that there is.
 * @param now - in ms since the epoch.
 */
export function detailsOf(lock: LockInfo, now: number): string {
  const { key, queue, scope, state, attempt, fence, since, storedKey, line } = lock;
  const isFree = state === 'parked';
  const details: [name: string, value: string | undefined][] = [
    ['key', key],
    ['queue', queue],
    ['scope', scope],
    ['state', state],
    ['holder', isFree ? '' : nameOfHolder(lock)],
    ['owner', isFree ? '' : lock.owner],
    // BullMQ counts every start; its attempts are the runs that have ended.
    ['start', attempt > 0 ? String(attempt) : ''],
    ['fence', isFree ? '' : String(fence)],
    ['acquired', since > 0 ? `${dateOf(since)} (${ageOf(lock, now)} ago)` : ''],
    [lock.dueIn === undefined ? 'expires in' : 'reserved', isFree ? '' : timeLeft(lock)],
    ['result', describeResult(lock)],
    ['places', line && line.held > 1 ? `${line.held} taken` : ''],
    ['parked', line && line.parked > 0 ? String(line.parked) : ''],
    ['next', line?.next && nameOfHolder(line.next)],
    ['stored key', storedKey],
  ];
  return details
    .filter(([, value]) => value)
    .map(([name, value]) => `${name.padEnd(NAME_WIDTH)}  ${printable(value as string)}\n`)
    .join('');
}
