/** `bullmq-once list` */

import type { LockAdmin } from '../../admin/lock-admin.ts';
import type { Arguments } from '../arguments.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import { findLocks } from '../find-locks.ts';
import { jsonLines } from '../json.ts';
import { tableOf } from '../table.ts';
import type { Terminal } from '../terminal.ts';

export async function list(args: Arguments, locks: LockAdmin, { write }: Terminal): Promise<ExitCode> {
  const found = await findLocks(args, locks);
  write(args.json ? jsonLines(found) : tableOf(found, Date.now()));
  return EXIT.ok;
}
