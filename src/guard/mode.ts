/** Whether guards guard: a team may first watch what a guard would do, and an operator may turn it off. */

import { processWide } from '../core/process-wide.ts';
import { oneOf, optional, type Parser } from '../core/validation.ts';

/**
 * - `'enforce'`: duplicates become what `whenLocked` says;
 * - `'observe'`: all work runs; what would have become of a duplicate is emitted as its event, with `observed: true`;
 * - `'off'`: all work runs, and nothing is locked.
 */
export type Mode = 'enforce' | 'observe' | 'off';

const VARIABLE = 'BULLMQ_ONCE_MODE';

/** Parses a mode. */
export const modeLike: Parser<Mode | undefined> = optional(oneOf<Mode>(['enforce', 'observe', 'off']));

const state = processWide<{ mode: Mode | undefined }>('mode', () => ({ mode: undefined }));
let fromEnvironment: Mode | undefined;

/**
 * Sets the mode of all guards of this process that have none of their own. It applies to work that begins from now on.
 * `undefined` leaves it to the environment variable `BULLMQ_ONCE_MODE`, else to `'enforce'`.
 * @throws TypeError it is no mode.
 * @example
 * ```ts
 * setMode('off'); // in tests that are not about duplicates
 * ```
 */
export function setMode(mode: Mode | undefined): void {
  state.mode = modeLike(mode, 'setMode: the mode');
}

/** The mode of the process. */
export function modeOfProcess(): Mode {
  if (state.mode !== undefined) return state.mode;
  fromEnvironment ??=
    modeLike(process.env[VARIABLE] || undefined, `environment variable ${VARIABLE}:`) ?? 'enforce';
  return fromEnvironment;
}
