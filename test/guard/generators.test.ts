/** What `once` can't guard is refused where it is written: a generator's body runs after the function has returned. */

import { expect } from 'chai';
import { MemoryCache, once, onceProcessor } from '../../src/index.ts';

const options = { key: 'k', cache: new MemoryCache() };

const GENERATORS: Readonly<Record<string, any>> = {
  'a generator': function* rows() {},
  'an async generator': async function* rows() {},
  'a bound generator': function* rows() {}.bind(undefined),
  'a generator method': { *rows() {} }.rows,
  'an async generator method': { async *rows() {} }.rows,
};

describe('A generator', () => {
  for (const [what, fn] of Object.entries(GENERATORS)) {
    it(`is refused by once, where it is written (${what})`, () => {
      expect(() => once(fn, options)).to.throw(TypeError, /generator/);
    });

    it(`is refused by onceProcessor, where it is written (${what})`, () => {
      expect(() => onceProcessor(fn, options)).to.throw(TypeError, /generator/);
    });
  }

  it('is refused by @once as a method, where the class is written', () => {
    expect(() => {
      class Rows {
        // The types refuse it too.
        @(once(options) as any)
        async *all() {}
      }
      return Rows;
    }).to.throw(TypeError, /generator/);
  });
});

describe('A decorator on what is no method', () => {
  it('is refused on a getter, where the class is written', () => {
    expect(() => {
      class Report {
        @(once(options) as any)
        get text() {
          return '';
        }
      }
      return Report;
    }).to.throw(TypeError, /method/);
  });

  it('is refused on a setter and on a field', () => {
    const classes: (() => unknown)[] = [
      () => {
        class Report {
          @(once(options) as any)
          set text(_value: string) {}
        }
        return Report;
      },
      () => {
        class Report {
          @(once(options) as any)
          text = () => '';
        }
        return Report;
      },
    ];

    for (const define of classes) expect(define).to.throw(TypeError, /method/);
  });
});
