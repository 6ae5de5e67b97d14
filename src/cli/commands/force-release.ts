/** `bullmq-once force-release <key>...` */

import { describeRefusal, type LockAdmin, type LockInfo } from '../../admin/lock-admin.ts';
import { describeLockLine } from '../../admin/lock-line.ts';
import { nameOfHolder } from '../../core/holder.ts';
import { printable } from '../../core/printable.ts';
import type { Arguments } from '../arguments.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import { findByKey } from '../find-locks.ts';
import { keyNotHeld, notHeld } from '../format.ts';
import { tableOf } from '../table.ts';
import type { Terminal } from '../terminal.ts';
import { UsageError } from '../usage-error.ts';

/**
 * Releases the lock of each key, as long as the holders that were shown still hold it.
 * @throws UsageError a key is held in more than one queue or scope, or nobody can confirm.
 */
export async function forceRelease(args: Arguments, locks: LockAdmin, terminal: Terminal): Promise<ExitCode> {
  const keys = [...new Set(args.keys)];
  const found = await findEach(keys, args, locks, terminal);
  if (found.length === 0) return EXIT.notDone;
  if (!args.yes && !(await isConfirmed(found, terminal))) return EXIT.notDone;
  const released = await releaseEach(found, locks, terminal);
  const isHeld = (key: string) => found.some(({ askedFor }) => askedFor === key);
  return released === found.length && keys.every(isHeld) ? EXIT.ok : EXIT.notDone;
}

/** A lock, and the key for which it was found: a long key is listed in its short form. */
type FoundLock = LockInfo & { readonly askedFor: string };

async function findEach(
  keys: readonly string[],
  args: Arguments,
  locks: LockAdmin,
  { write }: Terminal,
): Promise<FoundLock[]> {
  const found: FoundLock[] = [];
  for (const key of keys) {
    const locksOfKey = await findByKey(key, args, locks);
    const held = locksOfKey.filter(({ state }) => state !== 'parked');
    // A key with several places has several holders, and one name.
    if (held.some(({ storedKey }) => storedKey !== held[0]?.storedKey)) {
      throw new UsageError(`'${printable(key)}' is held more than once; say which with --queue or --scope`);
    }
    if (held.length > 0) found.push(...held.map(lock => ({ ...lock, askedFor: key })));
    else write(notReleased(key, locksOfKey[0], args));
  }
  return found;
}

/** @param parked - where jobs are parked for the key, which is free. */
function notReleased(key: string, parked: LockInfo | undefined, { queue }: Arguments): string {
  const what = keyNotHeld(key);
  return parked?.line ? `${what}: ${describeLockLine(parked.line)}\n` : notHeld(what, queue);
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
    const isShared = (lock.line?.held ?? 1) > 1;
    const name = isShared ? `'${lock.key}' of ${nameOfHolder(lock)}` : `'${lock.key}'`;
    write(`${printable(`${name} ${outcome}`)}\n`);
  }
  return released;
}
