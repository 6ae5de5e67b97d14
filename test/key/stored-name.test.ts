import { expect } from 'chai';
import fc from 'fast-check';
import { lineName } from '../../src/key/line-name.ts';
import { isLockName, parseName, queueName, scopedName } from '../../src/key/stored-name.ts';

const hostile = fc
  .oneof(
    fc.string({
      unit: fc.constantFrom(':', '%', '3', 'A', '1', 'once', '::once:1:', 'once::1:', '\n', 'é', '😀'),
    }),
    fc.string({ unit: 'grapheme' }),
  )
  .filter(text => text !== '');
/** With and without a prefix. Neither has an empty segment. */
const queue = fc.constantFrom('bull:emails', 'emails', '{bull}:e-mails', 'a:b:c', 'bull:e%3Amails');

describe('The stored name of a key', () => {
  it('says its scope', () => {
    expect(scopedName('mail', 'welcome-42')).to.equal('once::1:mail:welcome-42');
  });

  it('says its queue, beside what BullMQ stores for the queue', () => {
    expect(queueName('bull:emails', 'welcome-42')).to.equal('bull::once:1:emails:welcome-42');
  });

  it('differs from that of the same key in another scope', () => {
    expect(scopedName('a:b', 'c')).to.not.equal(scopedName('a', 'b:c'));
    expect(scopedName('a%3Ab', 'c')).to.not.equal(scopedName('a:b', 'c'));
  });

  it('is read back as its scope and its key, whatever they contain', () => {
    fc.assert(
      fc.property(hostile, hostile, (scope, key) => {
        expect(parseName(scopedName(scope, key))).to.deep.equal({ scope, key });
      }),
    );
  });

  it('is read back as its queue and its key, whatever the key contains', () => {
    fc.assert(
      fc.property(queue, hostile, (qualifiedQueue, key) => {
        expect(parseName(queueName(qualifiedQueue, key))).to.deep.equal({ queue: qualifiedQueue, key });
      }),
    );
  });

  it('is no name that BullMQ stores for a queue', () => {
    for (const name of [
      'bull:emails:meta',
      'bull:emails:17',
      'bull:emails:17:lock',
      'bull:once:1:lock',
      'once',
    ]) {
      expect(isLockName(name), name).to.equal(false);
    }
  });

  it('is not the name of a line', () => {
    for (const name of [
      queueName('bull:emails', 'k'),
      queueName('{bull}', 'k'),
      scopedName('mail', 'k'),
      scopedName('mail', '{k}'),
      queueName('bull:emails', '::once:1:emails:k'),
      queueName('{bull}:emails', '::once:1:emails:k'),
    ]) {
      expect(isLockName(lineName(name)), lineName(name)).to.equal(false);
    }
  });
});
