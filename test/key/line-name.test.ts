/** The name of a key's line: in the slot of its lock in a cluster, and no name of another key's. */

import { expect } from 'chai';
import { hashTag, lineName } from '../../src/key/line-name.ts';
import { queueName, scopedName } from '../../src/key/stored-name.ts';

const NAMES = [
  queueName('bull:emails', 'k'),
  queueName('{bull}:emails', 'k'),
  queueName('bull:emails', '{k}'),
  scopedName('mail', 'k'),
  scopedName('mail', 'k{1}'),
  scopedName('{mail}', '::once:1:q:k'),
  'conformance:1',
  'conformance:{1}',
  'once::line:1:mail:k',
];

describe('The name of a line', () => {
  it('has the hash tag of its lock, or all of its name as one', () => {
    for (const name of NAMES) expect(hashTag(lineName(name)), name).to.equal(hashTag(name));
  });

  it('is another one for each lock, and none of a lock', () => {
    const all = [...NAMES, ...NAMES.map(lineName)];
    expect(new Set(all).size).to.equal(all.length);
  });
});
