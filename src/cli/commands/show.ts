/** `bullmq-once show <key>` */

import type { LockCache } from '../../cache/contract.ts';
import type { Arguments } from '../arguments.ts';
import { detailsOf } from '../details.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import { findByKey } from '../find-locks.ts';
import { printable } from '../format.ts';
import { jsonLines } from '../json.ts';
import type { Terminal } from '../terminal.ts';

export async function show(args: Arguments, cache: LockCache, { write }: Terminal): Promise<ExitCode> {
  const [key] = args.keys as [string];
  const locks = await findByKey(key, args, cache);
  if (args.json) write(jsonLines(locks));
  else if (locks.length === 0) write(`'${printable(key)}' is not held\n`);
  else write(locks.map(lock => detailsOf(lock, Date.now())).join('\n'));
  return locks.length > 0 ? EXIT.ok : EXIT.notDone;
}
