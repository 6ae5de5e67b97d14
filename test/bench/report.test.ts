import { expect } from 'chai';
import { BAR_COLORS, chart, TEXT_COLOR } from '../../bench/chart.ts';
import { figure, ratio, table, whole } from '../../bench/report.ts';

/** The contrast of two colours, as the WCAG define it: 1 to 21. */
function contrast(a: string, b: string): number {
  const [lighter, darker] = [luminance(a), luminance(b)].sort((x, y) => y - x) as [number, number];
  return (lighter + 0.05) / (darker + 0.05);
}

function luminance(color: string): number {
  const [r, g, b] = [1, 3, 5].map(at => {
    const part = Number.parseInt(color.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

describe('The report of the benchmarks', () => {
  it('names below a table the spread of its middle figure, and of the noisiest and where that stands', () => {
    const text = table(
      ['', 'jobs/s', 'relative'],
      [
        ['no guard', figure({ median: 1000, spread: 0.02 }), ratio({ median: 1, spread: 0 })],
        ['ours', figure({ median: 780, spread: 0.04 }), ratio({ median: 0.78, spread: 0.123 })],
      ],
    );

    expect(text.split('\n')).to.deep.equal([
      '|  | jobs/s | relative |',
      '| --- | ---: | ---: |',
      '| no guard | 1 000 | 1.00 |',
      '| ours | 780 | 0.78 |',
      '',
      'Spread: 4.0 %, at most 12 % (ours, relative).',
    ]);
  });

  it('names no spread below a table that was measured once', () => {
    const text = table(['', 'bytes'], [['a record', figure({ median: 300, spread: 0 })]]);

    expect(text).to.not.include('Spread');
  });

  it('writes figures with the digits that mean something', () => {
    expect([0, 0.8123, 12.34, 99.6, 12_345.6].map(whole)).to.deep.equal(['0', '0.81', '12', '100', '12 346']);
  });

  it('draws a bar and its value for each series of each group', () => {
    const { svg } = chart(
      'cost',
      'A & B',
      ['at 1', 'at 50'],
      [
        { name: 'no guard', values: [1, 1] },
        { name: 'ours', values: [0.5, 0.75] },
      ],
    );

    const heights = [...svg.matchAll(/height="(\d+)" fill="(#\w+)"/g)].map(([, height]) => height);
    // The bars, and then the two squares of the legend.
    expect(heights).to.deep.equal(['200', '100', '200', '150', '12', '12']);
    for (const text of ['A &#38; B', 'at 1', 'at 50', 'no guard', 'ours', '0.50', '0.75']) {
      expect(svg).to.include(`>${text}</text>`);
    }
  });

  it('has colours that can be read on a light and on a dark page', () => {
    for (const page of ['#ffffff', '#0d1117']) {
      expect(contrast(TEXT_COLOR, page), `text on ${page}`).to.be.at.least(4);
      for (const color of BAR_COLORS) expect(contrast(color, page), `${color} on ${page}`).to.be.at.least(3);
    }
  });
});
