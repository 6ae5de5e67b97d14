/** `bullmq-once why <job id> --queue <name>` */

import { describeDuplicate, duplicatesOf, isIdOf } from '../../admin/describe-duplicate.ts';
import type { LockAdmin, LockInfo } from '../../admin/lock-admin.ts';
import type { DuplicateRecord } from '../../cache/contract.ts';
import { nameOfJob } from '../../core/holder.ts';
import { shown } from '../../core/printable.ts';
import type { Arguments } from '../arguments.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import { dateOf } from '../format.ts';
import { jsonLinesOf } from '../json.ts';
import type { Terminal } from '../terminal.ts';

export async function why(args: Arguments, locks: LockAdmin, { write }: Terminal): Promise<ExitCode> {
  const [jobId] = args.keys as [string];
  const { duplicates } = await locks.journal();
  const found = duplicatesOf(duplicates, jobId);
  if (args.json) {
    write(jsonLinesOf(found));
  } else {
    const held = await keysHeldBy(jobId, locks);
    const name = nameOfJob(jobId, args.queue?.slice(args.queue.lastIndexOf(':') + 1));
    const lines = [
      ...found.map(lineOf),
      ...held.map(({ key }) => `now                   holds '${shown(key)}'`),
    ];
    if (lines.length > 0) write([name, ...lines].map(line => `${line}\n`).join(''));
    else
      write(
        `${name} is not among the ${describeKnown(duplicates)}: it has found its key free, has not begun, has failed for want of a key, ` +
          'was one of more than a hundred duplicates in a second, or there is no such job\n',
      );
  }
  return found.length > 0 ? EXIT.ok : EXIT.notDone;
}

function lineOf(duplicate: DuplicateRecord): string {
  return `${dateOf(duplicate.at)}  ${describeDuplicate(duplicate)}`;
}

async function keysHeldBy(jobId: string, locks: LockAdmin): Promise<LockInfo[]> {
  const held: LockInfo[] = [];
  const isMeant = isIdOf(jobId);
  for await (const lock of locks.list({ state: 'running' })) if (isMeant(lock.jobId)) held.push(lock);
  return held;
}

function describeKnown(duplicates: readonly DuplicateRecord[]): string {
  const [first] = duplicates;
  if (!first) return 'duplicates of this queue, of which none was noted in the last week';
  return `last ${duplicates.length} duplicates of this queue, since ${dateOf(first.at)}`;
}
