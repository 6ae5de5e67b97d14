/** What became of a duplicate, in a sentence. */

import { expect } from 'chai';
import { describeDuplicate } from '../../src/admin/describe-duplicate.ts';
import { OUTCOMES } from '../../src/events/events.ts';

describe('The description of a duplicate', () => {
  for (const outcome of OUTCOMES) {
    it(`says what it was, or would have been (${outcome})`, () => {
      const holder = {
        state: 'running',
        owner: 'bull:emails:16@1',
        jobId: '16',
        queueName: 'emails',
      } as const;
      const duplicate = { at: 0, jobId: '17', key: 'k', outcome, observed: false, holder };

      const past = "'k' was held by job 16 of emails";
      expect(describeDuplicate(duplicate)).to.equal(`${outcome}: ${past}`);
      expect(describeDuplicate({ ...duplicate, observed: true })).to.equal(
        `would have been ${outcome}: ${past}`,
      );
    });
  }
});
