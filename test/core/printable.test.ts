import { expect } from 'chai';
import fc from 'fast-check';
import { listed, printable, shown } from '../../src/core/printable.ts';

/** What a terminal would obey, or what would begin a new line of a log. */
const RANGES = [
  [0x00, 0x1f],
  [0x7f, 0x9f],
  [0x61c, 0x61c],
  [0x200b, 0x200b],
  [0x200e, 0x200f],
  [0x2028, 0x202e],
  [0x2066, 0x2069],
  [0xd800, 0xdfff],
  [0xfeff, 0xfeff],
  [0xe0001, 0xe0001],
] as const;
const obeyed = RANGES.flatMap(([first, last]) =>
  Array.from({ length: last - first + 1 }, (_, i) => String.fromCodePoint(first + i)),
);

describe('A string for people', () => {
  it('has nothing in it that a terminal would obey', () => {
    for (const char of obeyed) {
      expect(printable(`a${char}b`), JSON.stringify(char)).to.match(
        /^a\\(?:[nrt]|u[\da-f]{4}|u[\da-f]{4}\\u[\da-f]{4})b$/,
      );
    }
  });

  it('is escaped as in JSON', () => {
    expect(printable('a\nb\t\u001b[2J\u0085\u202e\u2028\ud800')).to.equal(
      'a\\nb\\t\\u001b[2J\\u0085\\u202e\\u2028\\ud800',
    );
  });

  it('means the same where it is JSON', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.oneof(fc.constantFrom(...obeyed), fc.string()) }), text => {
        expect(JSON.parse(printable(JSON.stringify(text)))).to.equal(text);
      }),
    );
  });

  it('is not escaped twice', () => {
    const once = printable('a\n\u202e\\n');

    expect(printable(once)).to.equal(once);
  });

  it('leaves what can be read as it is', () => {
    for (const text of ['welcome-42', 'größe', '名前', 'می‌خواهم', '👩‍👩‍👧', 'C:\\new', "it's"]) {
      expect(shown(text)).to.equal(text);
    }
  });

  it('has its beginning and an ellipsis where it is long', () => {
    expect(shown('x'.repeat(512))).to.have.length(512);
    expect(shown('x'.repeat(1e6))).to.equal(`${'x'.repeat(512)}…`);
    expect(shown(`${'x'.repeat(511)}😀`)).to.equal(`${'x'.repeat(511)}…`);
  });

  it('says of a list the first twenty, and how many more there are', () => {
    const names = (count: number) => Array.from({ length: count }, (_, i) => `n${i}`);

    expect(listed(names(3))).to.equal('n0, n1, n2');
    expect(listed(names(20))).to.match(/, n19$/);
    expect(listed(names(21))).to.match(/, n19 … and 1 more$/);
    expect(listed(names(60_000))).to.match(/, n19 … and 59 980 more$/);
    expect(listed(['x'.repeat(1e6), 'a\nb'])).to.equal(`${'x'.repeat(100)}…, a\\nb`);
  });
});
