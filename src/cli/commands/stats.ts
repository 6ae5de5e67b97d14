/** `bullmq-once stats --queue <name>` */

import type { LockAdmin } from '../../admin/lock-admin.ts';
import type { OutcomeCount } from '../../cache/contract.ts';
import { MINUTE_MS } from '../../cache/journal-rules.ts';
import { OUTCOMES } from '../../events/events.ts';
import type { Arguments } from '../arguments.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import { jsonLinesOf } from '../json.ts';
import { columns } from '../table.ts';
import type { Terminal } from '../terminal.ts';

const PERIODS: readonly (readonly [name: string, minutes: number])[] = [
  ['last minute', 1],
  ['last 10 minutes', 10],
  ['last hour', 60],
  ['last 24 hours', 24 * 60],
];

export async function stats(args: Arguments, locks: LockAdmin, { write }: Terminal): Promise<ExitCode> {
  const { counts } = await locks.journal();
  if (args.json) write(jsonLinesOf(counts));
  else write(columns([['DUPLICATES', ...OUTCOMES.map(outcome => outcome.toUpperCase())], ...rowsOf(counts)]));
  return EXIT.ok;
}

function rowsOf(counts: readonly OutcomeCount[]): string[][] {
  const now = Date.now();
  return PERIODS.map(([name, minutes]) => {
    const recent = counts.filter(({ minute }) => minute > now - (minutes + 1) * MINUTE_MS);
    const sums = OUTCOMES.map(outcome => sum(recent.filter(one => one.outcome === outcome)));
    return [name, ...sums.map(String)];
  });
}

function sum(counts: readonly OutcomeCount[]): number {
  return counts.reduce((total, { count }) => total + count, 0);
}
