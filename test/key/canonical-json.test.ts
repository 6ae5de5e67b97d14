import { expect } from 'chai';
import fc from 'fast-check';
import { canonical } from '../../src/key/canonical-json.ts';

describe('Canonical JSON', () => {
  it('is read back as the data that it was written from', () => {
    fc.assert(
      fc.property(fc.jsonValue(), value => {
        expect(JSON.parse(canonical(value))).to.deep.equal(JSON.parse(JSON.stringify(value)));
      }),
    );
  });
});
