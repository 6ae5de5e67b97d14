/** `bullmq-once show <key>` */

import type { LockAdmin } from '../../admin/lock-admin.ts';
import type { Arguments } from '../arguments.ts';
import { detailsOf } from '../details.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import { findByKey } from '../find-locks.ts';
import { keyNotHeld, notHeld } from '../format.ts';
import { jsonLines } from '../json.ts';
import type { Terminal } from '../terminal.ts';

/** A line whose key is free is found by its name, which needs the queue or the scope. */
function notShown(key: string, { queue, scope }: Arguments): string {
  const what = keyNotHeld(key);
  if (queue !== undefined || scope !== undefined) return notHeld(what, queue);
  return `${what} (to see jobs that are parked for it while it is free, give --queue or --scope)\n`;
}

export async function show(args: Arguments, locks: LockAdmin, { write }: Terminal): Promise<ExitCode> {
  const [key] = args.keys as [string];
  const found = await findByKey(key, args, locks);
  if (args.json) write(jsonLines(found));
  else if (found.length === 0) write(notShown(key, args));
  else write(found.map(lock => detailsOf(lock, Date.now())).join('\n'));
  return found.length > 0 ? EXIT.ok : EXIT.notDone;
}
