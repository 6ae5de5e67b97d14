import { expect } from 'chai';
import type { AcquireStep, Batch, ReleaseStep, RenewStep } from '../../../src/cache/contract.ts';
import { readReply, writeBatch } from '../../../src/cache/redis/protocol.ts';

function acquisition(storedKey: string, ttl = 1000): AcquireStep {
  return { storedKey, token: `t-${storedKey}`, owner: 'me', attempt: 1, ttl };
}

function renewal(storedKey: string): RenewStep {
  return { storedKey, token: `t-${storedKey}`, ttl: 1000 };
}

function release(storedKey: string): ReleaseStep {
  return { storedKey, token: `t-${storedKey}`, dedupeFor: 0 };
}

const EMPTY: Batch = { acquisitions: [], renewals: [], releases: [] };

describe('writeBatch', () => {
  it('groups releases, renewals and acquisitions, and writes a key and a part of a record for each step', () => {
    const { keys, args } = writeBatch({
      releases: [release('a'), release('b')],
      renewals: [renewal('c')],
      acquisitions: [acquisition('d'), acquisition('e')],
    });

    expect(keys).to.deep.equal(['a', 'b', 'c', 'd', 'e']);
    expect(args).to.deep.equal([
      3,
      ...['release', 2, 0],
      ...['renew', 1, 1000],
      ...['acquire', 2, 1000],
      '"t-a",',
      '"t-b",',
      '"t-c",',
      '"t-d","ttl":1000,"attempt":1,"owner":"me"',
      '"t-e","ttl":1000,"attempt":1,"owner":"me"',
    ]);
  });

  it('keeps the order of the steps (their ttls differ)', () => {
    const { keys, args } = writeBatch({
      ...EMPTY,
      acquisitions: [acquisition('a', 10), acquisition('b', 20), acquisition('c', 10), acquisition('d', 10)],
    });

    expect(keys).to.deep.equal(['a', 'b', 'c', 'd']);
    expect(args.slice(0, 10)).to.deep.equal([3, 'acquire', 1, 10, 'acquire', 1, 20, 'acquire', 2, 10]);
  });

  it('escapes the token and the owner', () => {
    const hostile = '","owner":"you","fence":1,"\n\0';
    const { args } = writeBatch({
      ...EMPTY,
      acquisitions: [{ ...acquisition('a'), token: hostile, owner: hostile }],
    });

    const record = JSON.parse(`{"token":${args.at(-1)}}`);
    expect(record).to.deep.equal({ token: hostile, ttl: 1000, attempt: 1, owner: hostile });
  });
});

describe('readReply', () => {
  it('reads the reply mark by mark, in order', () => {
    const held =
      '{"once":1,"state":"running","token":"x","ttl":9,"attempt":3,"owner":"you","fence":7,"since":8}';
    const batch = {
      releases: [release('a'), release('b')],
      renewals: [renewal('c')],
      acquisitions: ['d', 'e', 'e', 'f', 'g'].map(storedKey => acquisition(storedKey)),
    };

    const { released, renewed, acquired } = readReply(
      [100, '10+1+=+1', ['error', 'OOM'], ['held', held, 5], -9],
      batch,
    );

    expect(released).to.deep.equal([true, false]);
    expect(String(renewed[0])).to.contain('OOM');
    expect(acquired[0]).to.deep.equal({ acquired: true, fence: 100, reclaimed: false });
    expect(acquired[1]).to.deep.include({ acquired: false });
    expect(acquired[2]).to.equal(acquired[1]);
    expect(acquired[3]).to.deep.equal({ acquired: true, fence: 9, reclaimed: true });
    expect(acquired[4]).to.deep.equal({ acquired: true, fence: 100, reclaimed: false });
  });

  it('reads a reply that the client decoded in its own way (numbers as strings, strings as buffers)', () => {
    const held =
      '{"once":1,"state":"running","token":"x","ttl":9,"attempt":3,"owner":"you","fence":7,"since":8}';
    const batch = { ...EMPTY, acquisitions: ['a', 'b', 'c'].map(storedKey => acquisition(storedKey)) };

    const { acquired } = readReply(
      ['100', Buffer.from('1++'), [Buffer.from('held'), Buffer.from(held), '5'], '-9'],
      batch,
    );

    expect(acquired[0]).to.deep.equal({ acquired: true, fence: 100, reclaimed: false });
    expect(acquired[1]).to.deep.nested.include({ 'record.owner': 'you', 'record.expiresIn': 5 });
    expect(acquired[2]).to.deep.equal({ acquired: true, fence: 9, reclaimed: true });
  });

  for (const [what, reply] of [
    ['nothing', null],
    ['a number', 1],
    ['too few marks', [1, '']],
    ['too many marks', [1, '11']],
    ['a fence that is no number', ['one', '1']],
  ] as const) {
    it(`refuses a reply that is not the script's (${what})`, () => {
      expect(() => readReply(reply, { ...EMPTY, acquisitions: [acquisition('a')] })).to.throw(
        'where 1 answers were due',
      );
    });
  }

  it('gives an error for an acquisition that has no answer, and never grants it', () => {
    for (const marks of ['+', '=']) {
      const { acquired } = readReply([1, marks], { ...EMPTY, acquisitions: [acquisition('a')] });
      expect(acquired[0]).to.be.instanceOf(Error);
    }
  });
});
