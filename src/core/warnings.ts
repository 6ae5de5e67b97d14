/** Warnings of the process, each kind once in a while: what goes wrong goes wrong for every job. */

/** One warning of a kind in so many ms. */
const WARN_EVERY = 60_000;
const warnAt = new Map<string, number>();

/** @param code - its kind. */
export function warn(code: string, message: string, detail?: string): void {
  const now = performance.now();
  if (now < (warnAt.get(code) ?? 0)) return;
  warnAt.set(code, now + WARN_EVERY);
  process.emitWarning(message, { type: 'OnceWarning', code, ...(detail === undefined ? {} : { detail }) });
}

const warned = new Set<string>();

/** Warns of what is wrong for as long as the process lives: once. */
export function warnOnce(code: string, message: string): void {
  if (warned.has(code)) return;
  warned.add(code);
  process.emitWarning(message, { type: 'OnceWarning', code });
}
