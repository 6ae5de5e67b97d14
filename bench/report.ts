/** Writes the results: Markdown, and charts beside it. */

export type Report = (string | Chart)[];

export interface Chart {
  readonly file: string;
  readonly title: string;
  readonly svg: string;
}

export interface Bar {
  readonly name: string;
  readonly value: number;
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, head.map((_, i) => (i === 0 ? '---' : '---:')), ...rows];
  return lines.map(cells => `| ${cells.join(' | ')} |`).join('\n');
}

export function ratio(value: number | undefined): string {
  return value === undefined ? '' : value.toFixed(2);
}

export function whole(value: number | undefined): string {
  if (value === undefined) return '';
  return value >= 99.5 ? Math.round(value).toLocaleString('en').replaceAll(',', ' ') : value.toPrecision(2);
}

const BAR = { left: 330, height: 22, gap: 8, longest: 330 };

/** A chart of bars, for light and dark pages. */
export function chart(file: string, title: string, bars: readonly Bar[]): Chart {
  const step = BAR.height + BAR.gap;
  const height = 44 + bars.length * step;
  const longest = Math.max(...bars.map(({ value }) => value));
  const rows = bars.map(({ name, value }, i) => {
    const y = 40 + i * step;
    const width = Math.round((value / longest) * BAR.longest);
    const color = name.startsWith('bullmq-once') ? '#2f81f7' : '#8b949e';
    return [
      `<text x="${BAR.left - 10}" y="${y + 16}" text-anchor="end">${escapeXml(name)}</text>`,
      `<rect x="${BAR.left}" y="${y}" width="${width}" height="${BAR.height}" rx="3" fill="${color}"/>`,
      `<text x="${BAR.left + width + 8}" y="${y + 16}">${value.toFixed(2)}</text>`,
    ].join('');
  });
  const svg = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 ${height}" width="720" height="${height}" role="img" aria-label="${escapeXml(title)}">`,
    '<style>text{font:13px system-ui,sans-serif;fill:#57606a}@media(prefers-color-scheme:dark){text{fill:#b1bac4}}</style>',
    `<text x="0" y="20" style="font-weight:600">${escapeXml(title)}</text>`,
    ...rows,
    '</svg>',
    '',
  ].join('\n');
  return { file: `${file}.svg`, title, svg };
}

function escapeXml(text: string): string {
  return text.replace(/[&<>"]/g, char => `&#${char.charCodeAt(0)};`);
}
