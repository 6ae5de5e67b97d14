import { expect } from 'chai';
import fc from 'fast-check';
import { KeyError } from '../../src/index.ts';
import { matchFromFunction } from '../../src/key/match.ts';
import { checkKey, fillTemplate, keyFromFunction, parseTemplate } from '../../src/key/template.ts';
import { nextTurn } from '../support/index.ts';

const build = (template: string, data: unknown) =>
  fillTemplate(parseTemplate(template), data, "the job's data");

describe('A key template', () => {
  it('is filled with values that stay readable', () => {
    expect(build('foo-key-{arg_a}-{arg_b}', { arg_a: 'teste', arg_b: 'foo' })).to.equal('foo-key-teste-foo');
    expect(build('welcome-{userId}', { userId: 42 })).to.equal('welcome-42');
    expect(build('{id}', { id: '0b5e1e0a-93a2-4d7e-a1f7-8d9b5f1c2d3e' })).to.equal(
      '0b5e1e0a-93a2-4d7e-a1f7-8d9b5f1c2d3e',
    );
    expect(build('mail:{to}', { to: 'josé@exämple.org' })).to.equal('mail:josé@exämple.org');
    expect(build('{flag}/{n}', { flag: true, n: -1.5 })).to.equal('true/-1.5');
  });

  it('reaches into nested objects and arrays', () => {
    expect(build('{a.b.0}', { a: { b: ['x'] } })).to.equal('x');
    expect(build('{a.b.1.c}', { a: { b: [0, { c: 'y' }] } })).to.equal('y');
  });

  it('writes a brace for a doubled brace', () => {
    expect(build('{{{a}}}', { a: 'x' })).to.equal('{x}');
    expect(build('{{a}}', {})).to.equal('{a}');
  });

  it('needs no placeholder', () => {
    expect(build('nightly', {})).to.equal('nightly');
  });

  it('gives different keys for values that contain the separator', () => {
    expect(build('{a}-{b}', { a: '1-2', b: '3' })).to.not.equal(build('{a}-{b}', { a: '1', b: '2-3' }));
    expect(build('{a}{b}', { a: 'ab', b: 'c' })).to.not.equal(build('{a}{b}', { a: 'a', b: 'bc' }));
    expect(build('{a}%{b}', { a: 'a%', b: 'c' })).to.not.equal(build('{a}%{b}', { a: 'a', b: '%c' }));
  });

  it('gives different keys for values of different types', () => {
    const values = [
      1,
      '1',
      "'1",
      true,
      'true',
      1n,
      '1n',
      [1],
      '[1]',
      ['1'],
      { a: 1 },
      '{"a":1}',
      '',
      "'",
      ' ',
      'null',
    ];

    const keys = values.map(a => build('{a}', { a: a === '' ? 'empty' : a }));

    expect(new Set(keys).size).to.equal(values.length);
  });

  it('escapes characters that could harm a store or a log', () => {
    expect(build('k-{a}', { a: 'a b\n\u0000%~"' })).to.equal('k-a%20b%0A%00%25%7E%22');
    expect(build('k-{a}', { a: '\ud800' })).to.equal('k-%uD800');
  });

  it('shortens a long key, which ends in a hash and differs from every other', () => {
    const x = build('k-{a}', { a: 'x'.repeat(1 << 20) });
    const y = build('k-{a}', { a: `${'x'.repeat((1 << 20) - 1)}y` });

    expect(x).to.have.length(300);
    expect(x).to.match(/^k-x+~[\w-]{43}$/);
    expect(x).to.not.equal(y);
    expect(build('k-{a}', { a: x.slice(2) })).to.not.equal(x);
  });

  it('gives different keys for long values, which are written as their beginning and a hash', () => {
    const long = 'x'.repeat(300);
    const values = [
      long,
      `${long}y`,
      `${long}\ud800`,
      `${long}\ud801`,
      `${long}\ufffd`,
      '%'.repeat(300),
      '0'.repeat(300),
    ];
    const written = build('{a}-{b}', { a: long, b: 'end' });
    const pairs = [
      ...values.flatMap(a => values.map(b => ({ a, b }))),
      { a: written, b: 'end' },
      { a: long.slice(0, 256), b: 'end' },
    ];

    expect(new Set(pairs.map(data => build('{a}-{b}', data))).size).to.equal(pairs.length);
  });

  it('gives the same key for equal data, and different keys for different data', () => {
    const value = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({
        unit: fc.constantFrom(
          '-',
          '1',
          "'",
          '%',
          '~',
          ':',
          'a',
          'e',
          'n',
          '{',
          '[',
          '.',
          ' ',
          '\ud83d',
          '\ude00',
        ),
      }),
      fc.integer().map(n => (Object.is(n, -0) ? 0 : n)),
      fc.double({ noNaN: true, noDefaultInfinity: true }).map(n => (n === 0 ? 0 : n)),
      fc.bigInt(),
      fc.boolean(),
      fc.array(fc.oneof(fc.string(), fc.integer(), fc.constant(null)), { maxLength: 3 }),
      fc.dictionary(fc.string(), fc.oneof(fc.string(), fc.integer()), { maxKeys: 3, noNullPrototype: true }),
    );
    const literal = fc.string({
      unit: fc.oneof(
        fc.constantFrom('-', ':', '1', '%', '~', 'a', "'", 'é', '😀', ' ', '{{', '}}'),
        fc.string({ minLength: 1, maxLength: 1 }).map(c => c.replace(/[{}]/, '_')),
      ),
      maxLength: 3,
    });
    const template = fc
      .tuple(literal, literal, literal, literal)
      .map(([a, b, c, d]) => `=${a}{x}${b}{y.0}${c}{z}${d}`);
    const data = fc.record({ x: value, y: fc.tuple(value), z: value }, { noNullPrototype: true });
    // Data that differ a little are those that could be confused.
    const pair = fc.oneof(
      fc.tuple(data, data),
      fc.tuple(data, value).map(([one, x]) => [one, { ...one, x }] as const),
      fc.tuple(fc.string(), fc.string(), fc.string()).map(([p, q, r]) => [
        { x: p + q, y: [r] as [string], z: q },
        { x: p, y: [q + r] as [string], z: q },
      ]),
    );

    fc.assert(
      fc.property(template, pair, (source, [one, two]) => {
        const same = show(one) === show(two);
        expect(build(source, one) === build(source, two)).to.equal(same);
        expect(build(source, one)).to.satisfy((key: string) => key.isWellFormed() && !key.includes('\u0000'));
      }),
      { numRuns: 20_000 },
    );
  });

  it('gives different keys for values that move across a separator', () => {
    const part = fc.string({ unit: fc.constantFrom('-', 'a', '1', '%', '2', 'D', '~', "'", '😀', '\ud83d') });
    const separator = fc.constantFrom('', '-', 'a', '1', '%', '~', '-a', '%2D', "'", '😀', '2D');
    fc.assert(
      fc.property(part, part, part, part, separator, (a, b, c, d, by) => {
        const source = `{x}${by}{y}`;
        const one = build(source, { x: a + by + b, y: c });
        const two = build(source, { x: a, y: b + by + c });
        const three = build(source, { x: a, y: d });
        const moved = by !== '' || b !== '';
        if (moved) expect(one).to.not.equal(two);
        if (d !== c || by + b !== '') expect(one).to.not.equal(three);
      }),
      { numRuns: 20_000 },
    );
  });

  for (const [template, problem] of [
    ['', /is empty/],
    ['a-{', /'\{' at 2 is never closed/],
    ['a-}', /'\}' at 2 closes nothing/],
    ['{}', /empty name/],
    ['{a..b}', /empty name/],
    ['{.a}', /empty name/],
    ['{ a }', /a space or a brace/],
    ['{a{b}', /a space or a brace/],
    ['{a}}', /'\}' at 3 closes nothing/],
    ['\ud800', /half a character/],
  ] as const) {
    it(`is refused where it is written (it is malformed: ${JSON.stringify(template)})`, () => {
      expect(() => parseTemplate(template)).to.throw(TypeError, problem);
    });
  }
});

describe('A KeyError', () => {
  const refused = (template: string, data: unknown): KeyError => {
    try {
      build(template, data);
    } catch (error) {
      return error as KeyError;
    }
    throw new Error('a key was built');
  };

  it('says which placeholder has no value, and which fields there are', () => {
    const error = refused('welcome-{userId}', { email: 'a@b.c', locale: 'en' });

    expect(error).to.be.instanceOf(KeyError);
    expect(error.message).to.equal(
      "lock key 'welcome-{userId}': the job's data has no 'userId' (it has: email, locale)",
    );
    expect(error).to.deep.include({
      code: 'ERR_LOCK_KEY',
      placeholder: 'userId',
      fields: ['email', 'locale'],
    });
  });

  it('says where the path of the placeholder ends', () => {
    expect(refused('{user.id}', { user: { name: 'x' } }).message).to.contain(
      "'user' in the job's data has no 'id' (it has: name)",
    );
    expect(refused('{user.id}', { user: 'x' }).message).to.contain("'user' in the job's data has no 'id'");
    expect(refused('{id}', {}).message).to.contain('(it has: no fields)');
    expect(refused('{id}', 42).message).to.contain("the job's data has no 'id' (it is a number)");
  });

  for (const [what, id] of [
    ['undefined', undefined],
    ['null', null],
    ['NaN', Number.NaN],
    ['Infinity', Number.POSITIVE_INFINITY],
    ['a function', () => 1],
    ['a symbol', Symbol('x')],
    ['a Date', new Date()],
    ['a Map', new Map()],
    ['an instance', new (class Foo {})()],
    ['an array with a hole', new Array(1)],
    ['an object with NaN in it', { a: { b: Number.NaN } }],
    ['an object that contains itself', circle()],
    ['too deep an object', nested(100_000)],
  ] as const) {
    it(`is thrown where the value is ${what}`, () => {
      expect(refused('k-{id}', { id })).to.include({ code: 'ERR_LOCK_KEY', placeholder: 'id' });
    });
  }

  it('is thrown where the field is inherited: only own properties count', () => {
    for (const name of ['constructor', 'toString', '__proto__', 'hasOwnProperty']) {
      expect(refused(`{${name}}`, { id: 1 })).to.include({ placeholder: name });
    }
    expect(refused('{id}', Object.create({ id: 1 })).placeholder).to.equal('id');
    expect(build('{__proto__}', JSON.parse('{"__proto__":7}'))).to.equal('7');
  });

  it('is thrown where the key would be empty', () => {
    expect(refused('{id}', { id: '' }).message).to.contain('would be empty');
  });
});

describe('A key from a function', () => {
  it('is used as it is', () => {
    expect(keyFromFunction(() => 'a b:{c}', 'the key')).to.equal('a b:{c}');
  });

  for (const [what, value, problem] of [
    ['an empty string', '', /empty/],
    ['undefined', undefined, /not undefined/],
    ['null', null, /not null/],
    ['a number', 42, /must be a string, not 42; write String\(…\) around it/],
    ['an object', { id: 7 }, /must be a string, not an object with id/],
    ['a promise', Promise.resolve('x'), /a promise; build it without awaiting/],
    ['half a character', 'a\ud800', /half a character/],
  ] as const) {
    it(`is refused where it is ${what}`, () => {
      expect(() => keyFromFunction(() => value, 'the key')).to.throw(KeyError, problem);
    });
  }

  it('is refused where it is a promise that rejects, and that rejection ends no process', async () => {
    const build = async () => {
      throw new Error('no such user');
    };

    expect(() => keyFromFunction(build, 'the key')).to.throw(KeyError, /a promise/);
    expect(() => matchFromFunction(build, 'the match')).to.throw(KeyError, /a promise/);
    await nextTurn();
  });

  it('is refused with the error as the cause (the function throws)', () => {
    const cause = new Error('no such user');

    expect(() =>
      keyFromFunction(() => {
        throw cause;
      }, 'the key'),
    )
      .to.throw(KeyError, /no such user/)
      .with.property('cause', cause);
  });

  it('has an error of one line, however long the error of its function is', () => {
    const build = () => {
      throw new Error(`a\n${'x'.repeat(1e6)}`);
    };

    expect(() => keyFromFunction(build, 'the key'))
      .to.throw(KeyError, /threw Error: a\\nx+…$/)
      .with.property('message')
      .with.length.below(700);
  });

  it('is shortened where it is long', () => {
    expect(checkKey('x'.repeat(256), 'the key')).to.have.length(256);
    expect(checkKey('x'.repeat(257), 'the key')).to.have.length(300);
    expect(checkKey(`${'x'.repeat(255)}😀`, 'the key')).to.satisfy((key: string) => key.isWellFormed());
  });
});

/** The same for equal data, whatever the order of their fields; different where a type differs. */
function show(value: unknown): string {
  if (typeof value !== 'object' || value === null) return `${typeof value} ${JSON.stringify(String(value))}`;
  if (Array.isArray(value)) return `[${value.map(show)}]`;
  return `{${Object.entries(value)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, field]) => `${JSON.stringify(name)}:${show(field)}`)}}`;
}

function circle(): object {
  const object: { self?: object } = {};
  object.self = object;
  return object;
}

function nested(depth: number): object {
  let object: object = {};
  for (let i = 0; i < depth; i++) object = { object };
  return object;
}
