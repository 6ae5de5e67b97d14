import { expect } from 'chai';
import sinon from 'sinon';
import type { Answers, Batch } from '../../../src/cache/contract.ts';
import { Gatherer } from '../../../src/cache/batching/coalescer.ts';
import { claim, lease } from '../../support/claims.ts';
import { type Deferred, deferred } from '../../support/index.ts';

describe('Gatherer', () => {
  let sent: { batch: Batch; answered: Deferred<Answers> }[];
  let gatherer: Gatherer;
  beforeEach(() => {
    sent = [];
    gatherer = new Gatherer(batch => {
      const answered = deferred<Answers>();
      sent.push({ batch, answered });
      return answered.promise;
    }, 2);
  });
  afterEach(() => sinon.restore());

  const claims = (...keys: string[]): Batch => ({
    claims: keys.map(key => claim({ key })),
    renewals: [],
    releases: [],
  });
  const keysOf = ({ claims, renewals, releases }: Batch) =>
    [releases, renewals, claims].map(steps => steps.map(({ key }) => key).join(''));
  /** Answers a call so that each answer tells which step it belongs to. */
  const answer = (i: number) => {
    const { batch, answered } = sent[i] as (typeof sent)[0];
    answered.resolve({
      released: batch.releases.map(({ key }) => new Error(`released ${key}`)),
      renewed: batch.renewals.map(({ key }) => new Error(`renewed ${key}`)),
      claimed: batch.claims.map(({ key }) => new Error(`claimed ${key}`)),
    });
  };
  const messages = ({ released, renewed, claimed }: Answers) =>
    [...released, ...renewed, ...claimed].map(one => (one as Error).message);

  it('sends at once as many calls as may be under way, before it returns', () => {
    void gatherer.exchange(claims('a'));
    void gatherer.exchange(claims('b'));
    void gatherer.exchange(claims('c'));

    expect(sent.map(({ batch }) => keysOf(batch))).to.deep.equal([
      ['', '', 'a'],
      ['', '', 'b'],
    ]);
  });

  it('sends what waits as one when a call has ended, and gives each its own answers', async () => {
    const first = [gatherer.exchange(claims('a')), gatherer.exchange(claims('b'))];
    const waiting = [
      gatherer.exchange(claims('c', 'd')),
      gatherer.exchange({
        claims: [],
        renewals: [lease(claim({ key: 'e' }))],
        releases: [lease(claim({ key: 'f' }))],
      }),
      gatherer.exchange({ ...claims('g'), releases: [lease(claim({ key: 'h' }))] }),
    ];

    answer(1);
    await first[1];
    expect(keysOf(sent[2]?.batch as Batch)).to.deep.equal(['fh', 'e', 'cdg']);
    answer(2);

    expect((await Promise.all(waiting)).map(messages)).to.deep.equal([
      ['claimed c', 'claimed d'],
      ['released f', 'renewed e'],
      ['released h', 'claimed g'],
    ]);
    answer(0);
    await first[0];
    expect(sent).to.have.length(3);
  });

  it('never lets the release of a claim that was given up overtake it', async () => {
    const first = [gatherer.exchange(claims('a')), gatherer.exchange(claims('b'))];
    const late = claim({ key: 'late' });
    const claimed = gatherer.exchange({ claims: [late], renewals: [], releases: [] });
    const released = gatherer.exchange({ claims: [], renewals: [], releases: [lease(late)] });
    void gatherer.exchange(claims('next'));

    answer(0);
    await first[0];
    answer(2);
    await claimed;

    expect(sent.slice(2).map(({ batch }) => keysOf(batch))).to.deep.equal([
      ['', '', 'late'],
      ['late', '', 'next'],
    ]);
    answer(3);
    expect(messages(await released)).to.deep.equal(['released late']);
  });

  it('goes on after a second without a call that hangs', async () => {
    const clock = sinon.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    void gatherer.exchange(claims('hangs'));
    void gatherer.exchange(claims('hangs too'));
    const waiting = gatherer.exchange(claims('waits'));

    await clock.tickAsync(999);
    const before = sent.length;
    await clock.tickAsync(1);
    answer(2);

    expect(before).to.equal(2);
    expect(messages(await waiting)).to.deep.equal(['claimed waits']);
    expect(clock.countTimers()).to.equal(0);
  });
});
