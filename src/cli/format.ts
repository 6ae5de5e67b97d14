/** Writes times for a terminal. */

import type { LockInfo } from '../admin/lock-admin.ts';
import { printable } from '../core/printable.ts';

/**
 * How long a lock has been held; empty for a value that no lock wrote.
 * @param now - in ms since the epoch.
 */
export function ageOf({ since }: LockInfo, now: number): string {
  return since > 0 ? duration(Math.max(now - since, 0)) : '';
}

/** How long the lock stays held; of a reservation, when the next run of its job is due. */
export function timeLeft({ expiresIn, dueIn }: LockInfo): string {
  if (dueIn !== undefined) return dueIn > 0 ? `next run in ${duration(dueIn)}` : 'next run is due';
  return Number.isFinite(expiresIn) ? duration(expiresIn) : 'never';
}

/** Says that no locks are held. */
export function noLocks(queue: string | undefined): string {
  return notHeld('no locks are held', queue);
}

/** `'welcome-42' is not held` */
export function keyNotHeld(key: string): string {
  return `'${printable(key)}' is not held`;
}

/** Says what is not held. Without the hint, the locks of a queue whose processor has a scope look free. */
export function notHeld(what: string, queue: string | undefined): string {
  return `${what}${queue === undefined ? '' : ' (locks of a scope: give --scope instead of --queue)'}\n`;
}

/** `2026-11-26T12:03:11Z`: in UTC, as the logs of most servers are. */
export function dateOf(at: number): string {
  return new Date(at).toISOString().replace(/\.\d+Z$/, 'Z');
}

/** `3 h 05 min`, `12 min 03 s`, `12 s`, `340 ms`. */
function duration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${twoDigits(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${twoDigits(minutes % 60)} min`;
}

function twoDigits(number: number): string {
  return String(number).padStart(2, '0');
}
