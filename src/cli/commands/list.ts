/** `bullmq-once list` */

import type { LockCache } from '../../cache/contract.ts';
import type { Arguments } from '../arguments.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import { findLocks } from '../find-locks.ts';
import { jsonLines } from '../json.ts';
import { tableOf } from '../table.ts';
import type { Terminal } from '../terminal.ts';

export async function list(args: Arguments, cache: LockCache, { write }: Terminal): Promise<ExitCode> {
  const locks = await findLocks(args, cache);
  write(args.json ? jsonLines(locks) : tableOf(locks, Date.now()));
  return EXIT.ok;
}
