/** Shows which faults were injected, how often, and with which results. */

import type { Outcome } from './round.ts';

const COLUMNS = ['injected', 'jobs', 'runs', 'skipped', 'parked', 'shared', 'aborted', 'violations'] as const;

/**
 * A table of Markdown.
 * @param outcomes - of each fault, one for each round.
 */
export function tableOf(outcomes: ReadonlyMap<string, readonly Outcome[]>): string {
  const rows = [...outcomes].map(([name, all]) => [name, ...sums(all)]);
  const totals = ['all', ...sums([...outcomes.values()].flat())];
  const table = [['fault', ...COLUMNS], ...rows, totals].map(row => row.map(String));
  const widths = table[0]?.map((_, i) => Math.max(...table.map(row => row[i]?.length ?? 0))) ?? [];
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join(' | ')} |`;
  const [head, ...body] = table.map(line);
  const rule = line(widths.map((width, i) => (i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)));
  return [head, rule, ...body].join('\n');
}

function sums(outcomes: readonly Outcome[]): number[] {
  return COLUMNS.map(column => outcomes.reduce((sum, one) => sum + counted(one[column]), 0));
}

function counted(value: Outcome[(typeof COLUMNS)[number]]): number {
  return typeof value === 'number' ? value : value.length;
}
