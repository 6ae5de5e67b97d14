/** Whether guards guard: a team may first watch what they would do, and an operator may turn them off. */

import { processWide } from '../core/process-wide.ts';

/**
 * - `'enforce'`: duplicates become what `whenLocked` says;
 * - `'observe'`: all work runs; what would have become of a duplicate is told as its event, with `observed: true`;
 * - `'off'`: all work runs, and nothing is locked.
 */
export type Mode = 'enforce' | 'observe' | 'off';

const MODES: readonly unknown[] = ['enforce', 'observe', 'off'];
const VARIABLE = 'BULLMQ_ONCE_MODE';

/**
 * Sets the mode of all guards of this process that have none of their own; `undefined` leaves it to the environment variable
 * `BULLMQ_ONCE_MODE`, else to `'enforce'`. It holds for work that begins from now on.
 * @throws TypeError it is no mode.
 * @example
 * ```ts
 * setMode('off'); // in tests that are not about duplicates
 * ```
 */
export function setMode(mode: Mode | undefined): void {
  processWide().mode = checkMode(mode, 'setMode: the mode');
}

/** The mode that the process is in. */
export function modeOfProcess(): Mode {
  const { mode } = processWide();
  if (mode !== undefined) return mode;
  fromEnvironment ??=
    checkMode(process.env[VARIABLE] || undefined, `environment variable ${VARIABLE}:`) ?? 'enforce';
  return fromEnvironment;
}

let fromEnvironment: Mode | undefined;

/** @throws TypeError it is none. */
export function checkMode(mode: unknown, what: string): Mode | undefined {
  if (mode === undefined || MODES.includes(mode)) return mode as Mode | undefined;
  throw new TypeError(`${what} must be 'enforce', 'observe' or 'off', not '${String(mode)}'`);
}
