import { createHash } from 'node:crypto';
import { expect } from 'chai';
import fc from 'fast-check';
import { canonical, canonicalHash } from '../../src/key/canonical-json.ts';

/** The definition, in the fewest words. */
function defined(value: unknown): string {
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'number') return String(value);
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(defined).join(',')}]`;
  const fields = Object.entries(value)
    .filter(([, field]) => field !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, field]) => `${JSON.stringify(name)}:${defined(field)}`);
  return `{${fields.join(',')}}`;
}

const name = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom('__proto__', '1', '10', '2', '', '\ud800'),
);
const leaf = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom('\ud83d', '\ude00', '😀', '\u2028', -0, 1e21, 5e-324),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  fc.integer(),
  fc.bigInt(),
  fc.boolean(),
  fc.constant(null),
);
const plainData = fc.letrec<{ value: unknown }>(tie => ({
  value: fc.oneof(
    { maxDepth: 4 },
    leaf,
    fc.array(tie('value'), { maxLength: 5 }),
    fc.dictionary(name, fc.oneof(tie('value'), fc.constant(undefined)), { maxKeys: 5 }),
  ),
})).value;

describe('Canonical JSON', () => {
  it('is read back as the data that it was written from', () => {
    fc.assert(
      fc.property(fc.jsonValue(), value => {
        expect(JSON.parse(canonical(value))).to.deep.equal(JSON.parse(JSON.stringify(value)));
      }),
    );
  });

  it('is JSON with the fields of each object sorted, without those that are undefined', () => {
    fc.assert(
      fc.property(plainData, value => {
        expect(canonical(value)).to.equal(defined(value));
      }),
      { numRuns: 1000 },
    );
  });

  it('has the same form and the same hash where it is written in many pieces', () => {
    const numbers = Array.from({ length: 30_000 }, (_, i) => i);
    const large: Record<string, unknown> = {
      fields: Object.fromEntries(numbers.map(i => [`f${(i * 7919) % 30_000}`, i])),
      objects: numbers.map(i => ({ name: `user ${i} 😀`, id: i, tags: [i, null, true] })),
      string: '😀\ud83d"'.repeat(50_000),
    };

    expect(canonical(large) === defined(large)).to.equal(true);
    for (const part of [large, ...Object.values(large)]) {
      const hash = createHash('sha256').update(defined(part)).digest('base64url');
      expect(canonicalHash(part)).to.equal(hash);
    }
  });

  it('does not exist of data that is nested too deep', () => {
    const nested = (levels: number): unknown => (levels === 0 ? 1 : { a: [nested(levels - 1)] });

    expect(canonical(nested(250))).to.equal(defined(nested(250)));
    expect(() => canonical(nested(251))).to.throw(/nested more than 500 levels deep/);
    expect(() => canonicalHash(nested(3000))).to.throw(/nested more than 500 levels deep/);
  });
});
