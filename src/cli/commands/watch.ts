/** `bullmq-once watch` */

import { setTimeout as delay } from 'node:timers/promises';
import type { LockAdmin, LockInfo } from '../../admin/lock-admin.ts';
import type { Arguments } from '../arguments.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import { findPages, LOCKS_A_PAGE } from '../find-locks.ts';
import { dateOf, noLocks } from '../format.ts';
import { jsonLines } from '../json.ts';
import { tableOf } from '../table.ts';
import type { Terminal } from '../terminal.ts';

/** Moves the cursor to the top, and clears the screen. */
const CLEAR = '\x1b[H\x1b[2J';

export async function watch(args: Arguments, locks: LockAdmin, terminal: Terminal): Promise<ExitCode> {
  const { write, written, isScreen, stopped } = terminal;
  while (!stopped.aborted) {
    const found = await firstPage(args, locks);
    if (args.json) write(jsonLines(found));
    else write(`${isScreen ? CLEAR : ''}${dateOf(Date.now())}\n${tableOrNone(found, args.queue)}`);
    if (found.length === LOCKS_A_PAGE && !args.json) write('… there may be more: list shows them all\n');
    await written();
    await delay(args.every, undefined, { signal: stopped }).catch(() => {});
  }
  return EXIT.ok;
}

function tableOrNone(found: readonly LockInfo[], queue: string | undefined): string {
  return found.length > 0 ? tableOf(found, Date.now()) : noLocks(queue);
}

/** Nobody reads more in a second. */
async function firstPage(args: Arguments, locks: LockAdmin): Promise<LockInfo[]> {
  for await (const page of findPages(args, locks)) return page;
  return [];
}
