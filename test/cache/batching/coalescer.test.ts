import { expect } from 'chai';
import sinon from 'sinon';
import { Coalescer } from '../../../src/cache/batching/coalescer.ts';
import type { Batch, BatchResults } from '../../../src/cache/contract.ts';
import { type Deferred, deferred } from '../../support/index.ts';
import { acquireStep, releaseStep, renewStep } from '../../support/steps.ts';

describe('Coalescer', () => {
  let sent: { batch: Batch; results: Deferred<BatchResults> }[];
  let coalescer: Coalescer;
  beforeEach(() => {
    sent = [];
    coalescer = new Coalescer(batch => {
      const results = deferred<BatchResults>();
      sent.push({ batch, results });
      return results.promise;
    }, 2);
  });
  afterEach(() => sinon.restore());

  const acquisitionsOf = (...storedKeys: string[]): Batch => ({
    acquisitions: storedKeys.map(storedKey => acquireStep({ storedKey })),
    renewals: [],
    releases: [],
  });
  const keysOf = ({ acquisitions, renewals, releases }: Batch) =>
    [releases, renewals, acquisitions].map(steps => steps.map(({ storedKey }) => storedKey).join(''));
  /** Answers a call, each step with a message that names it. */
  const answer = (i: number) => {
    const { batch, results } = sent[i] as (typeof sent)[0];
    results.resolve({
      released: batch.releases.map(({ storedKey }) => new Error(`released ${storedKey}`)),
      renewed: batch.renewals.map(({ storedKey }) => new Error(`renewed ${storedKey}`)),
      acquired: batch.acquisitions.map(({ storedKey }) => new Error(`acquired ${storedKey}`)),
    });
  };
  const messagesOf = ({ released, renewed, acquired }: BatchResults) =>
    [...released, ...renewed, ...acquired].map(one => (one as Error).message);

  it('sends a batch before it returns, for as many calls as may be under way', () => {
    void coalescer.exchange(acquisitionsOf('a'));
    void coalescer.exchange(acquisitionsOf('b'));
    void coalescer.exchange(acquisitionsOf('c'));

    expect(sent.map(({ batch }) => keysOf(batch))).to.deep.equal([
      ['', '', 'a'],
      ['', '', 'b'],
    ]);
  });

  it('sends the batches that wait as one when a call has ended, and gives each its own results', async () => {
    const first = [coalescer.exchange(acquisitionsOf('a')), coalescer.exchange(acquisitionsOf('b'))];
    const waiting = [
      coalescer.exchange(acquisitionsOf('c', 'd')),
      coalescer.exchange({
        acquisitions: [],
        renewals: [renewStep(acquireStep({ storedKey: 'e' }))],
        releases: [releaseStep(acquireStep({ storedKey: 'f' }))],
      }),
      coalescer.exchange({
        ...acquisitionsOf('g'),
        releases: [releaseStep(acquireStep({ storedKey: 'h' }))],
      }),
    ];

    answer(1);
    await first[1];
    expect(keysOf(sent[2]?.batch as Batch)).to.deep.equal(['fh', 'e', 'cdg']);
    answer(2);

    expect((await Promise.all(waiting)).map(messagesOf)).to.deep.equal([
      ['acquired c', 'acquired d'],
      ['released f', 'renewed e'],
      ['released h', 'acquired g'],
    ]);
    answer(0);
    await first[0];
    expect(sent).to.have.length(3);
  });

  it('sends a release after its own acquisition (an acquisition that timed out while it waits)', async () => {
    const first = [coalescer.exchange(acquisitionsOf('a')), coalescer.exchange(acquisitionsOf('b'))];
    const late = acquireStep({ storedKey: 'late' });
    const acquired = coalescer.exchange({ acquisitions: [late], renewals: [], releases: [] });
    const released = coalescer.exchange({ acquisitions: [], renewals: [], releases: [releaseStep(late)] });
    void coalescer.exchange(acquisitionsOf('next'));

    answer(0);
    await first[0];
    answer(2);
    await acquired;

    expect(sent.slice(2).map(({ batch }) => keysOf(batch))).to.deep.equal([
      ['', '', 'late'],
      ['late', '', 'next'],
    ]);
    answer(3);
    expect(messagesOf(await released)).to.deep.equal(['released late']);
  });

  it('sends the batches that wait after one second (the calls under way hang)', async () => {
    const clock = sinon.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    void coalescer.exchange(acquisitionsOf('hangs'));
    void coalescer.exchange(acquisitionsOf('hangs too'));
    const waiting = coalescer.exchange(acquisitionsOf('waits'));

    await clock.tickAsync(999);
    const before = sent.length;
    await clock.tickAsync(1);
    answer(2);

    expect(before).to.equal(2);
    expect(messagesOf(await waiting)).to.deep.equal(['acquired waits']);
    expect(clock.countTimers()).to.equal(0);
  });
});
