/** Shows locks as a table. */

import type { LockInfo } from '../admin/lock-admin.ts';
import { describeLockLine } from '../admin/lock-line.ts';
import { nameOfHolder } from '../core/holder.ts';
import { printable } from '../core/printable.ts';
import { ageOf, timeLeft } from './format.ts';

const HEAD = ['KEY', 'QUEUE OR SCOPE', 'STATE', 'HOLDER', 'HELD FOR', 'EXPIRES IN'];
/** Shown only where a lock has one. */
const LINE = 'LINE';
const GAP = '  ';

/**
 * A table with a line for each lock.
 * @param now - in ms since the epoch.
 */
export function tableOf(locks: readonly LockInfo[], now: number): string {
  const head = locks.some(({ line }) => line) ? [...HEAD, LINE] : HEAD;
  return columns([head, ...locks.map(lock => rowOf(lock, now).slice(0, head.length))]);
}

/** Rows of cells, each column as wide as its widest cell. */
export function columns(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map(row => widthOf(row[column] as string))),
  );
  return rows.map(row => `${lineOf(row, widths)}\n`).join('');
}

function rowOf(lock: LockInfo, now: number): string[] {
  const { key, state, line } = lock;
  const times = [ageOf(lock, now), timeLeft(lock)];
  const cells = [key, placeOf(lock), state, nameOfHolder(lock), ...times, line ? describeLockLine(line) : ''];
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
