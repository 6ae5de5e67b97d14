import { expect } from 'chai';
import fc from 'fast-check';
import { KeyError } from '../../src/index.ts';
import { queueName, scopedName } from '../../src/key/stored-name.ts';
import { canonical, defaultKey } from '../../src/key/canonical-json.ts';

describe('the default key', () => {
  it('is the name of the job and a hash of its data, whatever the order of the fields', () => {
    const one = defaultKey('welcome', { a: 1, b: { c: [1, 2], d: null } });
    const two = defaultKey('welcome', { b: { d: null, c: [1, 2] }, a: 1 });

    expect(one).to.match(/^welcome:[\w-]{43}$/);
    expect(two).to.equal(one);
  });

  it('differs where the name or the data do', () => {
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

  it('of data without a canonical form is an error', () => {
    expect(() => defaultKey('a', { when: new Date() })).to.throw(KeyError, /an instance of Date/);
  });
});

describe('canonical JSON', () => {
  it('reads back as the data it was made of', () => {
    fc.assert(
      fc.property(fc.jsonValue(), value => {
        const text = canonical(value);
        expect(JSON.parse(text)).to.deep.equal(JSON.parse(JSON.stringify(value)));
      }),
    );
  });
});

describe("a key's name in a cache", () => {
  it('tells scopes apart, whatever they contain', () => {
    expect(scopedName('a:b', 'c')).to.not.equal(scopedName('a', 'b:c'));
    expect(scopedName('a%3Ab', 'c')).to.not.equal(scopedName('a:b', 'c'));
    expect(scopedName('mail', 'welcome-42')).to.equal('once:1:mail:welcome-42');
  });

  it('stands beside what BullMQ stores for the queue', () => {
    expect(queueName('bull:emails', 'welcome-42')).to.equal('bull:emails::once:1:welcome-42');
  });
});
