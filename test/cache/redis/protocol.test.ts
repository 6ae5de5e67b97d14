import { expect } from 'chai';
import type { Claim, Lease } from '../../../src/cache/contract.ts';
import { readReply, writeBatch } from '../../../src/cache/redis/protocol.ts';

function claim(key: string, ttl = 1000): Claim {
  return { key, token: `t-${key}`, owner: 'me', attempt: 1, ttl };
}

function lease(key: string, keepFor = 0, ttl = 1000): Lease {
  return { key, token: `t-${key}`, keepFor, ttl };
}

const NOTHING = { claims: [], renewals: [], releases: [] };

describe('a batch, as the script reads it', () => {
  it('has releases, renewals and claims in groups, a key and a part of a record for each step', () => {
    const { keys, args } = writeBatch({
      releases: [lease('a'), lease('b')],
      renewals: [lease('c')],
      claims: [claim('d'), claim('e')],
    });

    expect(keys).to.deep.equal(['a', 'b', 'c', 'd', 'e']);
    expect(args).to.deep.equal([
      3,
      ...['release', 2, 0],
      ...['renew', 1, 1000],
      ...['claim', 2, 1000],
      '"t-a",',
      '"t-b",',
      '"t-c",',
      '"t-d","attempt":1,"owner":"me"',
      '"t-e","attempt":1,"owner":"me"',
    ]);
  });

  it('keeps the order of steps whose times differ', () => {
    const { keys, args } = writeBatch({
      ...NOTHING,
      claims: [claim('a', 10), claim('b', 20), claim('c', 10), claim('d', 10)],
    });

    expect(keys).to.deep.equal(['a', 'b', 'c', 'd']);
    expect(args.slice(0, 10)).to.deep.equal([3, 'claim', 1, 10, 'claim', 1, 20, 'claim', 2, 10]);
  });

  it('escapes what a token or an owner may hold', () => {
    const hostile = '","owner":"you","fence":1,"\n\0';
    const { args } = writeBatch({ ...NOTHING, claims: [{ ...claim('a'), token: hostile, owner: hostile }] });

    const record = JSON.parse(`{"token":${args.at(-1)}}`);
    expect(record).to.deep.equal({ token: hostile, attempt: 1, owner: hostile });
  });
});

describe("the script's reply", () => {
  it('is read mark by mark, in order', () => {
    const held = '{"once":1,"state":"running","token":"x","attempt":3,"owner":"you","fence":7,"since":8}';
    const batch = {
      releases: [lease('a'), lease('b')],
      renewals: [lease('c')],
      claims: [claim('d'), claim('e'), claim('e'), claim('f'), claim('g')],
    };

    const { released, renewed, claimed } = readReply(
      [100, '10+1+=+1', ['error', 'OOM'], ['held', held, 5], -9],
      batch,
    );

    expect(released).to.deep.equal([true, false]);
    expect(String(renewed[0])).to.contain('OOM');
    expect(claimed[0]).to.deep.equal({ taken: true, fence: 100, tookOver: false });
    expect(claimed[1]).to.deep.include({ taken: false });
    expect(claimed[2]).to.equal(claimed[1]);
    expect(claimed[3]).to.deep.equal({ taken: true, fence: 9, tookOver: true });
    expect(claimed[4]).to.deep.equal({ taken: true, fence: 100, tookOver: false });
  });

  for (const [what, reply] of [
    ['nothing', null],
    ['a number', 1],
    ['too few marks', [1, '']],
    ['too many marks', [1, '11']],
    ['a fence that is no number', ['1', '1']],
  ] as const) {
    it(`is refused where it is ${what}`, () => {
      expect(() => readReply(reply, { ...NOTHING, claims: [claim('a')] })).to.throw(
        'where 1 answers were due',
      );
    });
  }

  it('never grants a claim for want of an answer', () => {
    for (const marks of ['+', '=']) {
      const { claimed } = readReply([1, marks], { ...NOTHING, claims: [claim('a')] });
      expect(claimed[0]).to.be.instanceOf(Error);
    }
  });
});
