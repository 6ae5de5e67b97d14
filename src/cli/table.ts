/** Shows locks to people, and to programs. */

import type { LockInfo } from '../admin/lock-admin.ts';

const HEAD = ['KEY', 'OF', 'STATE', 'HOLDER', 'SINCE', 'LEFT'];

/** A table, or what to say where there is nothing to show. */
export function tableOf(infos: readonly LockInfo[], now: number): string {
  if (infos.length === 0) return 'no locks are held\n';
  const rows = [HEAD, ...infos.map(info => rowOf(info, now))];
  const widths = HEAD.map((_, i) => Math.max(...rows.map(row => [...(row[i] as string)].length)));
  return rows
    .map(
      row =>
        `${row
          .map((cell, i) => padded(cell, widths[i] as number))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}

function rowOf(info: LockInfo, now: number): string[] {
  const { key, state, since, expiresIn } = info;
  const age = since > 0 ? duration(Math.max(now - since, 0)) : '';
  return [
    printable(key),
    printable(placeOf(info)),
    state,
    printable(holderOf(info)),
    age,
    duration(expiresIn),
  ];
}

function placeOf({ queue, scope }: LockInfo): string {
  return queue ?? (scope === undefined ? '' : `scope ${scope}`);
}

function holderOf({ jobId, owner }: LockInfo): string {
  return jobId === undefined ? owner : `job ${jobId}`;
}

/** All that is known of one lock. */
export function detailsOf(info: LockInfo, now: number): string {
  const { key, storedKey, state, owner, jobId, fence, attempt, since, expiresIn } = info;
  const details: [string, string][] = [
    ['key', key],
    ['of', placeOf(info)],
    ['state', state],
    ['job', jobId ?? ''],
    ['owner', owner],
    ['run', attempt > 0 ? String(attempt) : ''],
    ['fence', String(fence)],
    ['since', since > 0 ? `${new Date(since).toISOString()} (${duration(Math.max(now - since, 0))})` : ''],
    ['left', duration(expiresIn)],
    ['stored as', storedKey],
  ];
  return details
    .filter(([, value]) => value !== '')
    .map(([name, value]) => `${name.padEnd(9)}  ${printable(value)}\n`)
    .join('');
}

/** One line of JSON. What never ends has no `expiresIn`. */
export function jsonOf(info: LockInfo): string {
  const { expiresIn, ...others } = info;
  return `${JSON.stringify(Number.isFinite(expiresIn) ? info : others)}\n`;
}

/** `3 h 05 min`, `12 min 03 s`, `12 s`, `340 ms`. */
export function duration(ms: number): string {
  if (!Number.isFinite(ms)) return 'for ever';
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${two(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
}

function two(number: number): string {
  return String(number).padStart(2, '0');
}

function padded(cell: string, width: number): string {
  return cell + ' '.repeat(Math.max(width - [...cell].length, 0));
}

/** A key may contain what a terminal would obey. */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Co}\p{Cs}\u2028\u2029]/gu,
    char => `\\u{${(char.codePointAt(0) as number).toString(16)}}`,
  );
}
