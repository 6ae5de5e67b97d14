/** Shows locks as a table. */

import type { LockInfo } from '../admin/lock-admin.ts';
import { nameOfHolder } from '../core/holder.ts';
import { printable } from '../core/printable.ts';
import { ageOf, timeLeft } from './format.ts';

const HEAD = ['KEY', 'QUEUE OR SCOPE', 'STATE', 'HOLDER', 'HELD FOR', 'EXPIRES IN'];
const GAP = '  ';

/**
 * A table with a line for each lock, or a sentence where there is none.
 * @param now - in ms since the epoch.
 */
export function tableOf(locks: readonly LockInfo[], now: number): string {
  if (locks.length === 0) return 'no locks are held\n';
  const rows = [HEAD, ...locks.map(lock => rowOf(lock, now))];
  const widths = HEAD.map((_, column) => Math.max(...rows.map(row => widthOf(row[column] as string))));
  return rows.map(row => `${lineOf(row, widths)}\n`).join('');
}

function rowOf(lock: LockInfo, now: number): string[] {
  const cells = [lock.key, placeOf(lock), lock.state, nameOfHolder(lock), ageOf(lock, now), timeLeft(lock)];
  return cells.map(printable);
}

function placeOf({ queue, scope }: LockInfo): string {
  return queue ?? (scope === undefined ? '' : `scope ${scope}`);
}

function lineOf(row: readonly string[], widths: readonly number[]): string {
  const cells = row.map((cell, column) => cell + ' '.repeat((widths[column] as number) - widthOf(cell)));
  return cells.join(GAP).trimEnd();
}

/** In code points. */
function widthOf(cell: string): number {
  return [...cell].length;
}
