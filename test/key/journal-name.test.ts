import { expect } from 'chai';
import { journalName } from '../../src/key/journal-name.ts';
import { hashTag } from '../../src/key/line-name.ts';
import { isLockName } from '../../src/key/stored-name.ts';

describe('The name of a part of a journal', () => {
  for (const [queue, name] of [
    ['{bull}:emails', '{bull}::once:journal:1:emails:counts'],
    ['bull:emails', 'once::once:journal:1:{bull:emails}:counts'],
    ['emails', 'once::once:journal:1:{emails}:counts'],
    ['a::once:1:b:{t}:emails', 'a::once:journal:1:b:{t}::once:1:emails:counts'],
  ] as const) {
    it(`is in the slot of the other parts, and is no lock's (${queue})`, () => {
      const named = journalName(queue, 'counts');

      expect(named).to.equal(name);
      expect(hashTag(named)).to.equal(hashTag(journalName(queue, 'duplicates')));
      expect(isLockName(named)).to.equal(false);
    });
  }
});
