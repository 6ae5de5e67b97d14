import { expect } from 'chai';
import { KeyError } from '../../src/index.ts';
import { defaultKey } from '../../src/key/default-key.ts';

describe('The default key', () => {
  it('is the name of the job and a hash of its data', () => {
    expect(defaultKey('welcome', { a: 1 })).to.match(/^welcome:[\w-]{43}$/);
  });

  it('is the same whatever the order of the fields', () => {
    const one = defaultKey('welcome', { a: 1, b: { c: [1, 2], d: null } });
    const other = defaultKey('welcome', { b: { d: null, c: [1, 2] }, a: 1 });

    expect(one).to.equal(other);
  });

  it('differs where the name or the data differ', () => {
    const keys = [
      defaultKey('a', {}),
      defaultKey('b', {}),
      defaultKey('a', { x: 1 }),
      defaultKey('a', { x: '1' }),
      defaultKey('a', [1, 2]),
      defaultKey('a', [2, 1]),
      defaultKey('a', undefined),
    ];

    expect(new Set(keys).size).to.equal(keys.length);
  });

  it('is as short as other keys, whatever the name of the job is', () => {
    const named = (name: string, data: unknown = {}) => defaultKey(name, data);
    const long = 'x'.repeat(1e6);

    expect(named('x'.repeat(212))).to.have.length(256);
    expect(named(long)).to.match(/^x{256}~[\w-]{43}$/);
    expect(new Set([named(long), named(`${long}x`), named(long, { a: 1 })]).size).to.equal(3);
  });

  it('can not be built from data that has no canonical form', () => {
    expect(() => defaultKey('a', { when: new Date() })).to.throw(KeyError, /an instance of Date/);
  });
});
