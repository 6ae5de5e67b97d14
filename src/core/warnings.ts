/** Warnings of the process. Each kind is rare: what goes wrong for one job goes wrong for every job. */

/** At most one warning of a kind in this time. */
const WARNING_INTERVAL_MS = 60_000;
const nextWarningAt = new Map<string, number>();

/** @param code - the kind of warning. */
export function warn(code: string, message: string, detail?: string): void {
  const now = performance.now();
  if (now < (nextWarningAt.get(code) ?? 0)) return;
  nextWarningAt.set(code, now + WARNING_INTERVAL_MS);
  process.emitWarning(message, { type: 'OnceWarning', code, ...(detail === undefined ? {} : { detail }) });
}

const warned = new Set<string>();

/** Warns once a process: of what stays wrong until someone changes the code. */
export function warnOnce(code: string, message: string): void {
  if (warned.has(code)) return;
  warned.add(code);
  process.emitWarning(message, { type: 'OnceWarning', code });
}
