/** `bullmq-once force-release <key>...` */

import { type LockInfo, locksOf } from '../../admin/lock-admin.ts';
import type { LockCache } from '../../cache/contract.ts';
import type { Arguments } from '../arguments.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import { findByKey } from '../find-locks.ts';
import { printable } from '../format.ts';
import { tableOf } from '../table.ts';
import type { Terminal } from '../terminal.ts';
import { UsageError } from '../usage-error.ts';

/**
 * Releases the lock of each key.
 * @throws UsageError a key is held more than once, or nobody can confirm.
 */
export async function forceRelease(args: Arguments, cache: LockCache, terminal: Terminal): Promise<ExitCode> {
  const locks = await findEach(args, cache, terminal);
  if (locks.length === 0) return EXIT.notDone;
  if (!args.yes && !(await isConfirmed(locks, terminal))) return EXIT.notDone;
  const released = await releaseEach(locks, cache, terminal);
  return released === args.keys.length ? EXIT.ok : EXIT.notDone;
}

async function findEach(args: Arguments, cache: LockCache, { write }: Terminal): Promise<LockInfo[]> {
  const found: LockInfo[] = [];
  for (const key of args.keys) {
    const [lock, another] = await findByKey(key, args, cache);
    if (another) {
      throw new UsageError(`'${printable(key)}' is held more than once; say which with --queue or --scope`);
    }
    if (lock) found.push(lock);
    else write(`'${printable(key)}' is not held\n`);
  }
  return found;
}

async function isConfirmed(locks: readonly LockInfo[], { ask }: Terminal): Promise<boolean> {
  if (!ask) {
    throw new UsageError(
      'force-release asks first, and nobody can answer here; give --yes to release without asking',
    );
  }
  const these = locks.length === 1 ? 'this lock' : `these ${locks.length} locks`;
  const answer = await ask(`${tableOf(locks, Date.now())}Force release ${these}? [y/N] `);
  return /^y(es)?$/i.test(answer.trim());
}

/** @returns how many were released. */
async function releaseEach(
  locks: readonly LockInfo[],
  cache: LockCache,
  { write }: Terminal,
): Promise<number> {
  const admin = locksOf(cache);
  let released = 0;
  for (const lock of locks) {
    const isReleased = await admin.forceRelease(lock);
    if (isReleased) released++;
    const outcome = isReleased
      ? 'was released'
      : 'was not released: it is no longer held, or no lock wrote it';
    write(`'${printable(lock.key)}' ${outcome}\n`);
  }
  return released;
}
