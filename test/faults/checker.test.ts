/** The checker of histories is shown histories that are wrong on purpose: each breaks one guarantee, and nothing else. */

import { expect } from 'chai';
import { check, type Guarantee } from './checker.ts';
import { KEY, type Story, story } from './story.ts';
import { WRONG_STRATEGIES } from './wrong-strategies.ts';

describe('The checker of histories', () => {
  const first = () => story().acquired(0, 1, 'a', 10).started(2, 1, 'a', 10);
  const wrong: (readonly [Guarantee, string, Story])[] = [
    [
      'exclusion',
      'another run starts, and the first still sees its lock held',
      first().acquired(100, 2, 'b', 20).started(102, 2, 'b', 20).ended(150, 2, 'b').ended(200, 1, 'a', false),
    ],
    [
      'holder',
      'a lease is renewed after another job has acquired the key',
      first()
        .step(900, 1, false, true)
        .acquired(1001, 2, 'b', 20)
        .started(1003, 2, 'b', 20)
        .renewed(1005, 1, 'a')
        .failed(1010, 1, 'a', 'ERR_LOCK_LOST')
        .finalState('a', 'failed')
        .ended(1100, 2, 'b'),
    ],
    [
      'holder',
      'a key is released by a job that has lost it to another',
      first()
        .step(900, 1, false, true)
        .acquired(1001, 2, 'b', 20)
        .started(1003, 2, 'b', 20)
        .released(1005, 1, 'a')
        .failed(1010, 1, 'a', 'ERR_LOCK_LOST')
        .finalState('a', 'failed')
        .ended(1100, 2, 'b'),
    ],
    ['holder', 'a key is released twice', first().ended(100, 1, 'a').released(110, 1, 'a')],
    [
      'ttl',
      'the lease of a killed process blocks for longer',
      first()
        .record(100, 0, { event: 'killed', of: 1 })
        .refused(2500, 2, 'b', 'a', 10)
        .failed(2502, 2, 'b', 'ERR_LOCK_HELD')
        .finalState('b', 'failed'),
    ],
    [
      'itself',
      'a job finds its own lease, and does not reclaim it',
      first()
        .record(100, 0, { event: 'killed', of: 1 })
        .acquire(200, 2, 'a', 'a2')
        .record(201, 2, {
          event: 'refused',
          token: 'a2',
          holder: { owner: 'a', attempt: 1, fence: 10, state: 'running' },
        })
        .completed(202, 2, 'a', 'skipped')
        .acquired(1100, 3, 'b', 20)
        .started(1101, 3, 'b', 20)
        .ended(1200, 3, 'b')
        // It has run to its end before, so that it is not lost.
        .record(90, 1, { event: 'ended', run: 1, outcome: 'finished' }),
    ],
    [
      'time',
      'work sees its lock held when its lease can have ended',
      first()
        .step(1001, 1)
        .record(1002, 1, { event: 'ended', run: 1, outcome: 'finished' })
        .released(1003, 1, 'a', false)
        .finalState('a'),
    ],
    [
      'time',
      'a lock is lost, and the signal does not abort',
      first()
        .step(910, 1, false)
        .step(920, 1, false)
        .record(921, 1, { event: 'ended', run: 1, outcome: 'finished' })
        .released(922, 1, 'a', false)
        .finalState('a'),
    ],
    [
      'time',
      'work runs under a lock that was not granted',
      story()
        .started(0, 1, 'a', 10)
        .record(1, 1, { event: 'ended', run: 1, outcome: 'finished' })
        .finalState('a'),
    ],
    [
      'free',
      'a key is found held after its holder has released it',
      first().ended(100, 1, 'a').refused(110, 2, 'b', 'a', 10).completed(112, 2, 'b', 'skipped'),
    ],
    [
      'free',
      'a job has ended, and does not release its key',
      first()
        .record(100, 1, { event: 'ended', run: 1, outcome: 'failed' })
        .failed(101, 1, 'a', 'oh')
        .finalState('a', 'failed'),
    ],
    [
      'fence',
      'a later holder has a lower fence',
      first().ended(100, 1, 'a').acquired(200, 2, 'b', 9).started(202, 2, 'b', 9).finalState('b', 'failed'),
    ],
    [
      'fence',
      'two holders have the same fence',
      first().ended(100, 1, 'a').acquired(200, 2, 'b', 10).started(202, 2, 'b', 10).ended(210, 2, 'b'),
    ],
    [
      'undecided',
      'a job is skipped although its acquisition was not decided',
      first()
        .acquire(50, 2, 'b')
        .record(51, 2, { event: 'undecided', token: 'b', problem: 'out of memory' })
        .record(52, 2, { event: 'processed', owner: 'b', attempt: 1, outcome: 'skipped' })
        .ended(100, 1, 'a'),
    ],
    [
      'undecided',
      'a job is skipped for the holder that another of its process has found before the job came',
      first()
        .refused(20, 2, 'b', 'a', 10)
        .completed(30, 2, 'b', 'skipped')
        .received(40, 2, 'c')
        .completed(50, 2, 'c', 'skipped')
        .ended(100, 1, 'a'),
    ],
    [
      'undecided',
      'a job runs although its acquisition was never answered',
      first()
        .ended(100, 1, 'a')
        .acquire(150, 2, 'b')
        .failed(200, 2, 'b', 'own error')
        .finalState('b', 'failed'),
    ],
    ['lost', 'a job is completed and never ran', first().ended(100, 1, 'a').finalState('b')],
    [
      'lost',
      'a job was skipped because of one that never ran to its end',
      first().refused(50, 2, 'b', 'a', 10).completed(52, 2, 'b', 'skipped'),
    ],
    ['lost', 'a job is neither completed nor failed when all is over', first().finalState('a', 'active')],
    [
      'twice',
      'a job runs again after it has completed',
      first()
        .ended(100, 1, 'a')
        .acquire(200, 2, 'a', 'a2')
        .record(201, 2, { event: 'acquired', token: 'a2', fence: 20 })
        .started(202, 2, 'a', 20),
    ],
    [
      'twice',
      'a key is acquired while it is held as done',
      first()
        .record(100, 1, { event: 'ended', run: 1, outcome: 'finished' })
        .released(101, 1, 'a', true, 500)
        .completed(103, 1, 'a', 'finished')
        .acquired(300, 2, 'b', 20)
        .started(302, 2, 'b', 20)
        .ended(310, 2, 'b'),
    ],
    [
      'left',
      'a lock is held when all is over',
      first()
        .ended(100, 1, 'a')
        .record(9001, 0, { event: 'left-behind', storedKeys: [KEY] }),
    ],
    [
      'unhandled',
      'nobody caught a rejection',
      first().ended(100, 1, 'a').record(9001, 1, { event: 'unhandled', problem: 'unhandled rejection: oh' }),
    ],
    ...WRONG_STRATEGIES,
  ];
  for (const [guarantee, what, written] of wrong) {
    it(`finds that '${guarantee}' is broken, and nothing else (${what})`, () => {
      const { violations } = written;

      expect([...new Set(violations.map(text => text.split(':')[0]))]).to.deep.equal([guarantee]);
    });
  }

  it('is shown a wrong history for each guarantee', () => {
    const guarantees: Record<Guarantee, true> = {
      ...{ exclusion: true, holder: true, ttl: true, itself: true, time: true, free: true, fence: true },
      ...{ undecided: true, lost: true, twice: true, left: true, unhandled: true },
      ...{ reserved: true, order: true, newest: true, result: true },
    };

    expect(Object.keys(guarantees)).to.have.members([...new Set(wrong.map(([guarantee]) => guarantee))]);
  });

  it('refuses a history with an answer to no request', () => {
    expect(() => check(story().renewed(0, 1, 'a').entries)).to.throw('mentions a before it begins');
    expect(() => check(first().record(5, 1, { event: 'renewed', token: 'a', ok: true }).entries)).to.throw(
      'an answer to a request that was never sent',
    );
  });
});
