/** Writes what a run has found into docs/faults.md, so that nobody copies numbers by hand. */

import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';

const DOCS = new URL('../../docs/faults.md', import.meta.url);
const BEGIN = '<!-- written by: npm run test:faults -- --write -->';
const END = '<!-- end -->';

export interface Report {
  readonly minutes: number;
  readonly seed: number;
  readonly table: string;
  /** What was tried beside the faults, by its name. */
  readonly trials: ReadonlyMap<string, Tried>;
}

/** A trial that was made in some rounds. */
export interface Tried {
  readonly rounds: number;
  /** Of the last. */
  readonly figures: string;
  /** Of all. */
  readonly violations: readonly string[];
}

export function writeReport(report: Report): void {
  writeFileSync(DOCS, withReport(readFileSync(DOCS, 'utf8'), report));
}

/** @throws Error the text has no place for a report. */
export function withReport(docs: string, { minutes, seed, table, trials }: Report): string {
  const [begin, end] = [docs.indexOf(BEGIN), docs.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`docs/faults.md has no '${BEGIN}' before '${END}'`);
  const machine = `Node ${process.versions.node}, ${cpus().length} cores`;
  const text = [
    `${minutes} minutes of it (\`--seed ${seed}\`; ${machine}). An aborted run is one whose signal aborted because its lock was lost, as it should:`,
    table,
    'The same run also tried:',
    [...trials].map(trialLine).join('\n'),
  ].join('\n\n');
  return `${docs.slice(0, begin)}${BEGIN}\n\n${text}\n\n${docs.slice(end)}`;
}

function trialLine([name, { rounds, figures, violations }]: [string, Tried]): string {
  const found = violations.length > 0 ? `; **found in ${rounds} rounds: ${violations.join('; ')}**` : '';
  return `- ${name}: ${figures}${found}`;
}
