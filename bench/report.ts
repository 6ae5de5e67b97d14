/** The parts of the report: text, tables that say how far their figures vary, and charts. */

import { median, type Summary } from './measure.ts';

export type Report = (string | Chart)[];

export interface Chart {
  readonly file: string;
  readonly title: string;
  readonly svg: string;
}

/** A measured figure as it is written, and how far it varied from round to round. */
export interface Cell {
  readonly text: string;
  readonly spread: number;
}

/** A table. Under it stands the spread of its measured cells: in the middle of them all, and of the noisiest. */
export function table(head: readonly string[], rows: readonly (readonly (string | Cell)[])[]): string {
  const written = rows.map(cells => cells.map(cell => (typeof cell === 'string' ? cell : cell.text)));
  const lines = [head, head.map((_, i) => (i === 0 ? '---' : '---:')), ...written];
  const text = lines.map(cells => `| ${cells.join(' | ')} |`).join('\n');
  const spread = spreadOf(head, rows);
  return spread ? `${text}\n\n${spread}` : text;
}

function spreadOf(
  head: readonly string[],
  rows: readonly (readonly (string | Cell)[])[],
): string | undefined {
  const cells = rows.flatMap(([name, ...rest]) =>
    rest.flatMap((cell, i) =>
      // What did not vary is no measurement, such as the ratio of the first row to itself.
      typeof cell === 'string' || !(cell.spread > 0)
        ? []
        : [{ spread: cell.spread, where: `${name}, ${head[i + 1]}` }],
    ),
  );
  if (cells.length === 0) return undefined;
  const noisiest = cells.reduce((a, b) => (b.spread > a.spread ? b : a));
  const middle = median(cells.map(({ spread }) => spread));
  return `Spread: ${percent(middle)}, at most ${percent(noisiest.spread)} (${noisiest.where}).`;
}

export function ratio(summary: Summary | undefined): string | Cell {
  return summary ? { text: summary.median.toFixed(2), spread: summary.spread } : '';
}

/** A figure with about three digits. */
export function figure(summary: Summary | undefined): string | Cell {
  return summary ? { text: whole(summary.median), spread: summary.spread } : '';
}

export function whole(value: number): string {
  if (value >= 99.5) return Math.round(value).toLocaleString('en').replaceAll(',', ' ');
  return value === 0 ? '0' : value.toPrecision(2);
}

export function percent(part: number): string {
  return `${part < 0.0995 ? (part * 100).toPrecision(2) : Math.round(part * 100)} %`;
}
