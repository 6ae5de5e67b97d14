/** `bullmq-once list` */

import type { LockAdmin } from '../../admin/lock-admin.ts';
import type { Arguments } from '../arguments.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import { findPages } from '../find-locks.ts';
import { noLocks } from '../format.ts';
import { jsonLines } from '../json.ts';
import { tableOf } from '../table.ts';
import type { Terminal } from '../terminal.ts';

/** Prints page by page: there may be more locks than fit into memory. */
export async function list(args: Arguments, locks: LockAdmin, terminal: Terminal): Promise<ExitCode> {
  let pages = 0;
  for await (const page of findPages(args, locks)) {
    pages++;
    terminal.write(args.json ? jsonLines(page) : tableOf(page, Date.now()));
    await terminal.written();
  }
  if (pages === 0 && !args.json) terminal.write(noLocks(args.queue));
  return EXIT.ok;
}
