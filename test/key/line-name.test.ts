/** The names of a key's line and of its result: in the slot of its lock in a cluster, and no names of another key's. */

import { expect } from 'chai';
import { hashTag, lineName, resultName } from '../../src/key/line-name.ts';
import { isLockName, queueName, scopedName } from '../../src/key/stored-name.ts';

const NAMES = [
  queueName('bull:emails', 'k'),
  queueName('{bull}:emails', 'k'),
  queueName('bull:emails', '{k}'),
  scopedName('mail', 'k'),
  scopedName('mail', 'k{1}'),
  scopedName('{mail}', '::once:1:q:k'),
  scopedName('mail', '{k}::once:1:q:k'),
  scopedName('{bull', ':once:1:emails:k}'),
  queueName('{bull}:emails', 'a::once:1:q:k'),
  'conformance:1',
  'conformance:{1}',
  'once::line:1:mail:k',
];

describe('The name of a line, or of a result', () => {
  it('has the hash tag of its lock, or all of its name as one', () => {
    for (const name of NAMES) {
      for (const beside of [lineName(name), resultName(name)])
        expect(hashTag(beside), name).to.equal(hashTag(name));
    }
  });

  it('is another one for each lock, and none of a lock', () => {
    const beside = [...NAMES.map(lineName), ...NAMES.map(resultName)];
    const all = [...NAMES, ...beside];
    expect(new Set(all).size).to.equal(all.length);
    for (const name of beside) expect(isLockName(name), name).to.equal(false);
  });
});
