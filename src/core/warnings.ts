/** Warnings of the process. Each kind is rare: what goes wrong for one job goes wrong for every job. */

import { shown } from './printable.ts';

/** At most one warning of a kind in this time. */
const WARNING_INTERVAL_MS = 60_000;
/** A warning has no more characters: what it quotes may be bounded nowhere else. */
const MAX_WARNING_LENGTH = 2048;
const nextWarningAt = new Map<string, number>();

/** @param code - the kind of warning. */
export function warn(code: string, message: string, detail?: string): void {
  const now = performance.now();
  if (now < (nextWarningAt.get(code) ?? 0)) return;
  nextWarningAt.set(code, now + WARNING_INTERVAL_MS);
  emit(code, message, detail);
}

const warned = new Set<string>();

/** Warns once a process: of what stays wrong until someone changes the code. */
export function warnOnce(code: string, message: string): void {
  if (warned.has(code)) return;
  warned.add(code);
  emit(code, message);
}

/** A line of a terminal or a log for each part, whatever the parts quote. */
function emit(code: string, message: string, detail?: string): void {
  process.emitWarning(shown(message, MAX_WARNING_LENGTH), {
    type: 'OnceWarning',
    code,
    ...(detail === undefined ? {} : { detail: shown(detail, MAX_WARNING_LENGTH) }),
  });
}
