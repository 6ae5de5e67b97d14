/** The checker of histories must allow what may happen under the guarantees. */

import { expect } from 'chai';
import { KEY, type Story, story } from './story.ts';

describe('The checker of histories', () => {
  it('finds nothing wrong (jobs run one after the other, and a duplicate is skipped)', () => {
    const written = story()
      .acquired(0, 1, 'a', 10)
      .started(2, 1, 'a', 10)
      .refused(100, 2, 'b', 'a', 10)
      .completed(102, 2, 'b', 'skipped')
      .renewed(333, 1, 'a')
      .ended(1200, 1, 'a')
      .acquired(1300, 2, 'c', 20)
      .started(1302, 2, 'c', 20)
      .ended(1400, 2, 'c');

    expect(written.violations).to.deep.equal([]);
  });

  const right: Record<string, Story> = {
    'a lock is lost in time, and another job acquires it': story()
      .acquired(0, 1, 'a', 10)
      .started(2, 1, 'a', 10)
      .step(890, 1)
      .step(910, 1, false)
      .step(920, 1, false, true)
      .record(921, 1, { event: 'ended', run: 1, outcome: 'gave up' })
      .released(921, 1, 'a')
      .failed(922, 1, 'a', 'ERR_LOCK_LOST')
      .acquired(1000, 2, 'b', 20)
      .started(1002, 2, 'b', 20)
      .ended(1100, 2, 'b')
      .finalState('a', 'failed'),
    'a job is started again, and its first run learns of it at its next renewal': story()
      .acquired(0, 1, 'a', 10)
      .started(2, 1, 'a', 10)
      .acquire(100, 2, 'a', 'a2')
      .record(101, 2, { event: 'acquired', token: 'a2', fence: 20 })
      .started(102, 2, 'a', 20)
      .step(200, 1)
      .renewed(333, 1, 'a', false)
      .step(340, 1, false, true)
      .record(341, 1, { event: 'ended', run: 1, outcome: 'gave up' })
      .released(342, 1, 'a', false)
      .step(400, 2)
      .record(400, 2, { event: 'ended', run: 2, outcome: 'finished' })
      .released(401, 2, 'a2')
      .completed(403, 2, 'a', 'finished'),
    'a job is started again and ends, and another job comes, before the first run learns of it': story()
      .acquired(0, 1, 'a', 10)
      .started(2, 1, 'a', 10)
      .acquire(100, 2, 'a', 'a2')
      .record(101, 2, { event: 'acquired', token: 'a2', fence: 20 })
      .started(102, 2, 'a', 20)
      .record(150, 2, { event: 'ended', run: 2, outcome: 'finished' })
      .released(151, 2, 'a2')
      .completed(153, 2, 'a', 'finished')
      .acquired(200, 3, 'b', 30)
      .started(202, 3, 'b', 30)
      .step(300, 1)
      .renewed(333, 1, 'a', false)
      .step(340, 1, false, true)
      .record(341, 1, { event: 'ended', run: 1, outcome: 'gave up' })
      .released(342, 1, 'a', false)
      .ended(400, 3, 'b'),
    'the datastore loses its data, and the holder knows within a ttl': story()
      .acquired(0, 1, 'a', 10)
      .started(2, 1, 'a', 10)
      .record(100, 0, { event: 'data-lost', from: 90 })
      .acquired(110, 2, 'b', 20)
      .started(112, 2, 'b', 20)
      .step(300, 1)
      .step(350, 1, false, true)
      .failed(352, 1, 'a', 'ERR_LOCK_LOST')
      .ended(500, 2, 'b'),
    'a process is killed, and others are skipped until the datastore is back and a ttl has passed': story()
      .acquired(0, 1, 'a', 10)
      .started(2, 1, 'a', 10)
      .record(100, 0, { event: 'killed', of: 1 })
      .record(100, 0, { event: 'outage-begins' })
      .record(4000, 0, { event: 'outage-ends' })
      .refused(4900, 2, 'b', 'a', 10)
      .completed(4902, 2, 'b', 'skipped')
      .acquire(5100, 2, 'a', 'a2')
      .record(5101, 2, { event: 'acquired', token: 'a2', fence: 20 })
      .started(5102, 2, 'a', 20)
      .record(5200, 2, { event: 'ended', run: 2, outcome: 'finished' })
      .released(5201, 2, 'a2')
      .completed(5203, 2, 'a', 'finished'),
    'a job is skipped because of one that fails, is retried, and is skipped because of a third': story()
      .acquired(0, 1, 'a', 10)
      .started(2, 1, 'a', 10)
      .refused(50, 2, 'b', 'a', 10)
      .completed(52, 2, 'b', 'skipped')
      .record(60, 1, { event: 'ended', run: 1, outcome: 'failed' })
      .released(61, 1, 'a')
      .failed(62, 1, 'a', 'oh')
      .acquired(100, 3, 'c', 20)
      .started(102, 3, 'c', 20)
      .acquire(150, 1, 'a', 'a2')
      .record(151, 1, {
        event: 'refused',
        token: 'a2',
        holder: { owner: 'c', attempt: 1, fence: 20, state: 'running' },
      })
      .completed(152, 1, 'a', 'skipped')
      .ended(200, 3, 'c'),
    'a job that waits behind another of its process is skipped for the holder that the other has found':
      story()
        .acquired(0, 1, 'a', 10)
        .started(2, 1, 'a', 10)
        .received(10, 2, 'c')
        .refused(20, 2, 'b', 'a', 10)
        .completed(30, 2, 'c', 'skipped')
        .completed(31, 2, 'b', 'skipped')
        .ended(100, 1, 'a'),
    'an acquisition is not answered, and its job fails': story()
      .acquire(0, 1, 'a')
      .record(1, 1, { event: 'undecided', token: 'a', problem: 'out of memory' })
      .failed(2, 1, 'a', 'ERR_LOCK_CACHE')
      .finalState('a', 'failed'),
  };
  const rightOfStrategies: Record<string, Story> = {
    'two jobs hold a key with two places, and a third is parked': story({ places: 2, line: 'all' })
      .acquired(0, 1, 'a', 10)
      .started(2, 1, 'a', 10)
      .acquired(10, 2, 'b', 20)
      .started(12, 2, 'b', 20)
      .parked(20, 3, 'c', 'a', 10)
      .ended(100, 1, 'a')
      .acquiredAgain(110, 3, 'c', 30)
      .started(112, 3, 'c', 30)
      .ended(200, 3, 'c', true, 'c again')
      .ended(210, 2, 'b'),
    'a job reclaims what is reserved for it, before those that are parked': story({ line: 'all' })
      .acquired(0, 1, 'a', 10)
      .started(2, 1, 'a', 10)
      .parked(50, 2, 'b', 'a', 10)
      .reserved(100, 1, 'a')
      .acquiredAgain(200, 3, 'a', 20)
      .started(202, 3, 'a', 20)
      .ended(300, 3, 'a', true, 'a again')
      .acquiredAgain(310, 2, 'b', 30)
      .started(312, 2, 'b', 30)
      .ended(400, 2, 'b', true, 'b again'),
    'what is reserved for a job is free when the job was removed': story()
      .acquired(0, 1, 'a', 10)
      .started(2, 1, 'a', 10)
      .reserved(100, 1, 'a')
      .removed(150, 'a')
      .acquired(200, 2, 'b', 20)
      .started(202, 2, 'b', 20)
      .ended(300, 2, 'b'),
    'the first of a line was struck out, and comes again later': story({ line: 'all' })
      .acquired(0, 1, 'a', 10)
      .started(2, 1, 'a', 10)
      .parked(100, 2, 'b', 'a', 10)
      .parked(200, 3, 'c', 'a', 10)
      .ended(300, 1, 'a')
      .record(305, 1, { event: 'strike', storedKey: KEY, owner: 'b' })
      .acquiredAgain(310, 3, 'c', 20)
      .started(312, 3, 'c', 20)
      .ended(320, 3, 'c', true, 'c again')
      .acquiredAgain(330, 2, 'b', 30)
      .started(332, 2, 'b', 30)
      .ended(340, 2, 'b', true, 'b again'),
    'an older job is skipped, and the newest runs last': story({ line: 'newest' })
      .acquired(0, 1, 'q:1@0', 10)
      .started(2, 1, 'q:1@0', 10)
      .parked(100, 2, 'q:3@0', 'q:1@0', 10)
      .refused(110, 3, 'q:2@0', 'q:3@0', 0)
      .completed(112, 3, 'q:2@0', 'skipped')
      .ended(200, 1, 'q:1@0')
      .acquiredAgain(210, 2, 'q:3@0', 20)
      .started(212, 2, 'q:3@0', 20)
      .ended(300, 2, 'q:3@0', true, 'q:3@0 again'),
    'a job is skipped for a newer one, which is removed': story({ line: 'newest' })
      .acquired(0, 1, 'q:1@0', 10)
      .started(2, 1, 'q:1@0', 10)
      .parked(100, 2, 'q:3@0', 'q:1@0', 10)
      .refused(110, 3, 'q:2@0', 'q:3@0', 0)
      .completed(112, 3, 'q:2@0', 'skipped')
      .removed(150, 'q:3@0')
      .ended(200, 1, 'q:1@0'),
    'a job shares the result of a run that ended after it came': story({ line: 'together' })
      .acquired(0, 1, 'a', 10)
      .started(2, 1, 'a', 10)
      .parked(100, 2, 'b', 'a', 10)
      .ended(200, 1, 'a')
      .shared(210, 2, 'b', 'the result of a'),
    'a job shares the result of work whose key is held as done': story({ line: 'together' })
      .acquired(0, 1, 'a', 10)
      .started(2, 1, 'a', 10)
      .record(100, 1, { event: 'ended', run: 1, outcome: 'finished', result: 'the result of a' })
      .released(100, 1, 'a', true, 500)
      .completed(102, 1, 'a', 'finished')
      .shared(300, 2, 'b', 'the result of a'),
    "the server's clock is set back, fences are lower, and a lock lasts": story()
      .acquired(0, 1, 'a', 3_600_000_000)
      .started(2, 1, 'a', 3_600_000_000)
      .ended(100, 1, 'a')
      .record(150, 0, { event: 'clock-set-back' })
      .acquired(200, 2, 'b', 5)
      .started(202, 2, 'b', 5)
      .renewed(300, 2, 'b')
      .ended(400, 2, 'b')
      .record(9001, 0, { event: 'left-behind', storedKeys: [KEY] }),
  };
  for (const [what, written] of Object.entries({ ...right, ...rightOfStrategies })) {
    it(`finds nothing wrong (${what})`, () => {
      expect(written.violations).to.deep.equal([]);
    });
  }
});
