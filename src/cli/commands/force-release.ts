/** `bullmq-once force-release <key>...` */

import { describeRefusal, type LockAdmin, type LockInfo } from '../../admin/lock-admin.ts';
import { printable } from '../../core/printable.ts';
import type { Arguments } from '../arguments.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import { findByKey } from '../find-locks.ts';
import { tableOf } from '../table.ts';
import type { Terminal } from '../terminal.ts';
import { UsageError } from '../usage-error.ts';

/**
 * Releases the lock of each key, as long as the holder that was shown still holds it.
 * @throws UsageError a key is held more than once, or nobody can confirm.
 */
export async function forceRelease(args: Arguments, locks: LockAdmin, terminal: Terminal): Promise<ExitCode> {
  const keys = [...new Set(args.keys)];
  const found = await findEach(keys, args, locks, terminal);
  if (found.length === 0) return EXIT.notDone;
  if (!args.yes && !(await isConfirmed(found, terminal))) return EXIT.notDone;
  const released = await releaseEach(found, locks, terminal);
  return released === keys.length ? EXIT.ok : EXIT.notDone;
}

async function findEach(
  keys: readonly string[],
  args: Arguments,
  locks: LockAdmin,
  { write }: Terminal,
): Promise<LockInfo[]> {
  const found: LockInfo[] = [];
  for (const key of keys) {
    const [lock, another] = await findByKey(key, args, locks);
    if (another) {
      throw new UsageError(`'${printable(key)}' is held more than once; say which with --queue or --scope`);
    }
    if (lock) found.push(lock);
    else write(`'${printable(key)}' is not held\n`);
  }
  return found;
}

async function isConfirmed(found: readonly LockInfo[], { ask }: Terminal): Promise<boolean> {
  if (!ask) {
    throw new UsageError(
      'force-release asks first, and nobody can answer here; give --yes to release without asking',
    );
  }
  const these = found.length === 1 ? 'this lock' : `these ${found.length} locks`;
  const answer = await ask(`${tableOf(found, Date.now())}Force release ${these}? [y/N] `);
  return /^y(es)?$/i.test(answer.trim());
}

/** @returns how many were released. */
async function releaseEach(
  found: readonly LockInfo[],
  locks: LockAdmin,
  { write }: Terminal,
): Promise<number> {
  let released = 0;
  for (const lock of found) {
    const isReleased = await locks.forceRelease(lock);
    if (isReleased) released++;
    const outcome = isReleased
      ? 'was released'
      : `was not released: it ${describeRefusal(await locks.get(lock))}`;
    write(`${printable(`'${lock.key}' ${outcome}`)}\n`);
  }
  return released;
}
