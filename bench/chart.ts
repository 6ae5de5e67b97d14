/** Draws groups of bars as SVG. Each colour can be read on white and on black: an image in a page does not know its theme. */

import type { Chart } from './report.ts';

/** A kind of bar, which each group has one of. */
export interface Series {
  readonly name: string;
  /** One value a group. */
  readonly values: readonly number[];
}

export const TEXT_COLOR = '#757b83';
export const BAR_COLORS: readonly string[] = ['#8b949e', '#2f81f7', '#b87a00', '#a371f7'];

const WIDTH = 720;
const BAR = { width: 46, gap: 4, highest: 200, bottom: 270 };

/**
 * @param file - its name in docs/, without the ending.
 * @param groups - what stands below each group.
 */
export function chart(
  file: string,
  title: string,
  groups: readonly string[],
  series: readonly Series[],
): Chart {
  const highest = Math.max(...series.flatMap(({ values }) => values));
  const column = WIDTH / groups.length;
  const inset = (column - series.length * (BAR.width + BAR.gap)) / 2;
  const bars = groups.flatMap((_, group) =>
    series.map(({ values }, i) => {
      const value = values[group] ?? 0;
      const height = Math.round((value / highest) * BAR.highest);
      const x = Math.round(group * column + inset + i * (BAR.width + BAR.gap));
      const y = BAR.bottom - height;
      return (
        `<rect x="${x}" y="${y}" width="${BAR.width}" height="${height}" fill="${BAR_COLORS[i]}"/>` +
        `<text x="${x + BAR.width / 2}" y="${y - 6}" text-anchor="middle">${value.toFixed(2)}</text>`
      );
    }),
  );
  const labels = groups.map(
    (label, group) =>
      `<text x="${Math.round((group + 0.5) * column)}" y="${BAR.bottom + 20}" text-anchor="middle">${escapeXml(label)}</text>`,
  );
  const legend = series.map(({ name }, i) => {
    const x = (i % 2) * (WIDTH / 2);
    const y = BAR.bottom + 40 + (i >> 1) * 22;
    return (
      `<rect x="${x}" y="${y}" width="12" height="12" fill="${BAR_COLORS[i]}"/>` +
      `<text x="${x + 20}" y="${y + 11}">${escapeXml(name)}</text>`
    );
  });
  const height = BAR.bottom + 40 + ((series.length + 1) >> 1) * 22;
  const svg = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" ` +
      `font-family="system-ui,sans-serif" font-size="13" fill="${TEXT_COLOR}" role="img" aria-label="${escapeXml(title)}">`,
    `<text x="0" y="20" font-weight="600">${escapeXml(title)}</text>`,
    ...bars,
    `<line x1="0" y1="${BAR.bottom}.5" x2="${WIDTH}" y2="${BAR.bottom}.5" stroke="${TEXT_COLOR}"/>`,
    ...labels,
    ...legend,
    '</svg>',
    '',
  ].join('\n');
  return { file: `${file}.svg`, title, svg };
}

function escapeXml(text: string): string {
  return text.replace(/[&<>"]/g, char => `&#${char.charCodeAt(0)};`);
}
