/** The checker of histories, shown histories that are wrong on purpose: one that breaks nothing else for each promise. */

import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { check, type Promised } from './checker.ts';
import { type Entry, type Fact, Recorder, readHistory } from './history.ts';

const TTL = 1000;
const KEY = 'queue::once:1:k';

/** Tells a history: one fact each time, at a time in ms, by a process. */
class Story {
  readonly entries: Entry[] = [];

  tell(at: number, pid: number, fact: Fact): this {
    this.entries.push({ at, pid, ...fact });
    return this;
  }

  /** A claim that is granted. Its token is its job's name. */
  taken(at: number, pid: number, owner: string, fence: number): this {
    return this.asked(at, pid, owner).tell(at + 1, pid, { event: 'claimed', token: owner, fence });
  }

  refused(at: number, pid: number, owner: string, by: string, fence: number): this {
    const holder = { owner: by, attempt: 1, fence, state: 'running' };
    return this.asked(at, pid, owner).tell(at + 1, pid, { event: 'refused', token: owner, holder });
  }

  asked(at: number, pid: number, owner: string, token: string = owner): this {
    this.came(at, pid, owner);
    return this.tell(at, pid, { event: 'claim', key: KEY, token, owner, attempt: 1, ttl: TTL });
  }

  came(at: number, pid: number, owner: string): this {
    return this.tell(at, pid, { event: 'came', owner, attempt: 1, key: KEY });
  }

  renewed(at: number, pid: number, token: string, ok = true): this {
    this.tell(at, pid, { event: 'renew', token, ttl: TTL });
    return this.tell(at + 1, pid, { event: 'renewed', token, ok });
  }

  released(at: number, pid: number, token: string, ok = true, keepFor = 0): this {
    this.tell(at, pid, { event: 'release', token, keepFor });
    return this.tell(at + 1, pid, { event: 'released', token, ok });
  }

  /** Work that has begun. A process has one run here. */
  begun(at: number, pid: number, owner: string, fence: number): this {
    return this.tell(at, pid, { event: 'run', run: pid, owner, fence });
  }

  step(at: number, pid: number, held = true, aborted = false): this {
    return this.tell(at, pid, { event: 'step', run: pid, held, aborted });
  }

  /** Work that has run to its end, and what becomes of its job. */
  ended(at: number, pid: number, owner: string, released = true): this {
    return this.step(at, pid)
      .tell(at, pid, { event: 'ran', run: pid, outcome: 'finished' })
      .released(at, pid, owner, released)
      .completed(at + 2, pid, owner, 'finished');
  }

  completed(at: number, pid: number, owner: string, outcome: 'finished' | 'skipped'): this {
    this.tell(at, pid, { event: 'processed', owner, attempt: 1, outcome });
    return this.tell(at + 1, pid, { event: 'completed', owner }).final(owner);
  }

  failed(at: number, pid: number, owner: string, code: string): this {
    return this.tell(at, pid, { event: 'processed', owner, attempt: 1, outcome: 'failed', code });
  }

  final(owner: string, state = 'completed'): this {
    return this.tell(9000, 0, { event: 'final', owner, state });
  }

  get violations(): string[] {
    return check(this.entries.sort((a, b) => a.at - b.at)).map(({ promise, what }) => `${promise}: ${what}`);
  }
}

const story = () => new Story();

describe('the checker of histories', () => {
  it('finds nothing wrong where jobs run one after the other, and a duplicate is skipped', () => {
    const told = story()
      .taken(0, 1, 'a', 10)
      .begun(2, 1, 'a', 10)
      .refused(100, 2, 'b', 'a', 10)
      .completed(102, 2, 'b', 'skipped')
      .renewed(333, 1, 'a')
      .ended(1200, 1, 'a')
      .taken(1300, 2, 'c', 20)
      .begun(1302, 2, 'c', 20)
      .ended(1400, 2, 'c');

    expect(told.violations).to.deep.equal([]);
  });

  const right: Record<string, Story> = {
    'a lock is lost in time, and another takes it': story()
      .taken(0, 1, 'a', 10)
      .begun(2, 1, 'a', 10)
      .step(890, 1)
      .step(910, 1, false)
      .step(920, 1, false, true)
      .tell(921, 1, { event: 'ran', run: 1, outcome: 'gave up' })
      .released(921, 1, 'a')
      .failed(922, 1, 'a', 'ERR_LOCK_LOST')
      .taken(1000, 2, 'b', 20)
      .begun(1002, 2, 'b', 20)
      .ended(1100, 2, 'b')
      .final('a', 'failed'),
    'a job is started again while its first run goes on, which is told at its next renewal': story()
      .taken(0, 1, 'a', 10)
      .begun(2, 1, 'a', 10)
      .asked(100, 2, 'a', 'a2')
      .tell(101, 2, { event: 'claimed', token: 'a2', fence: 20 })
      .begun(102, 2, 'a', 20)
      .step(200, 1)
      .renewed(333, 1, 'a', false)
      .step(340, 1, false, true)
      .tell(341, 1, { event: 'ran', run: 1, outcome: 'gave up' })
      .released(342, 1, 'a', false)
      .step(400, 2)
      .tell(400, 2, { event: 'ran', run: 2, outcome: 'finished' })
      .released(401, 2, 'a2')
      .completed(403, 2, 'a', 'finished'),
    'a job is started again and ends, and another comes, before the first run is told': story()
      .taken(0, 1, 'a', 10)
      .begun(2, 1, 'a', 10)
      .asked(100, 2, 'a', 'a2')
      .tell(101, 2, { event: 'claimed', token: 'a2', fence: 20 })
      .begun(102, 2, 'a', 20)
      .tell(150, 2, { event: 'ran', run: 2, outcome: 'finished' })
      .released(151, 2, 'a2')
      .completed(153, 2, 'a', 'finished')
      .taken(200, 3, 'b', 30)
      .begun(202, 3, 'b', 30)
      .step(300, 1)
      .renewed(333, 1, 'a', false)
      .step(340, 1, false, true)
      .tell(341, 1, { event: 'ran', run: 1, outcome: 'gave up' })
      .released(342, 1, 'a', false)
      .ended(400, 3, 'b'),
    'the datastore forgets, and the holder knows within a ttl': story()
      .taken(0, 1, 'a', 10)
      .begun(2, 1, 'a', 10)
      .tell(100, 0, { event: 'forgot', from: 90 })
      .taken(110, 2, 'b', 20)
      .begun(112, 2, 'b', 20)
      .step(300, 1)
      .step(350, 1, false, true)
      .failed(352, 1, 'a', 'ERR_LOCK_LOST')
      .ended(500, 2, 'b'),
    'a process is killed, and its job skips others until the datastore is back and a ttl has passed': story()
      .taken(0, 1, 'a', 10)
      .begun(2, 1, 'a', 10)
      .tell(100, 0, { event: 'killed', of: 1 })
      .tell(100, 0, { event: 'silent' })
      .tell(4000, 0, { event: 'answers' })
      .refused(4900, 2, 'b', 'a', 10)
      .completed(4902, 2, 'b', 'skipped')
      .asked(5100, 2, 'a', 'a2')
      .tell(5101, 2, { event: 'claimed', token: 'a2', fence: 20 })
      .begun(5102, 2, 'a', 20)
      .tell(5200, 2, { event: 'ran', run: 2, outcome: 'finished' })
      .released(5201, 2, 'a2')
      .completed(5203, 2, 'a', 'finished'),
    'a job is skipped because of one that fails, is put off, and is skipped because of a third': story()
      .taken(0, 1, 'a', 10)
      .begun(2, 1, 'a', 10)
      .refused(50, 2, 'b', 'a', 10)
      .completed(52, 2, 'b', 'skipped')
      .tell(60, 1, { event: 'ran', run: 1, outcome: 'failed' })
      .released(61, 1, 'a')
      .failed(62, 1, 'a', 'oh')
      .taken(100, 3, 'c', 20)
      .begun(102, 3, 'c', 20)
      .asked(150, 1, 'a', 'a2')
      .tell(151, 1, {
        event: 'refused',
        token: 'a2',
        holder: { owner: 'c', attempt: 1, fence: 20, state: 'running' },
      })
      .completed(152, 1, 'a', 'skipped')
      .ended(200, 3, 'c'),
    'a job that waits behind another of its process is told what that one has met': story()
      .taken(0, 1, 'a', 10)
      .begun(2, 1, 'a', 10)
      .came(10, 2, 'c')
      .refused(20, 2, 'b', 'a', 10)
      .completed(30, 2, 'c', 'skipped')
      .completed(31, 2, 'b', 'skipped')
      .ended(100, 1, 'a'),
    'a claim is not answered, and its job fails': story()
      .asked(0, 1, 'a')
      .tell(1, 1, { event: 'undecided', token: 'a', problem: 'out of memory' })
      .failed(2, 1, 'a', 'ERR_LOCK_CACHE')
      .final('a', 'failed'),
  };
  for (const [what, told] of Object.entries(right)) {
    it(`takes no offence where ${what}`, () => {
      expect(told.violations).to.deep.equal([]);
    });
  }

  const first = () => story().taken(0, 1, 'a', 10).begun(2, 1, 'a', 10);
  const wrong: [Promised, string, Story][] = [
    [
      'exclusion',
      'another begins, and the first still believes that it holds the lock',
      first().taken(100, 2, 'b', 20).begun(102, 2, 'b', 20).ended(150, 2, 'b').ended(200, 1, 'a', false),
    ],
    [
      'holder',
      'a lease is renewed after another took the key',
      first()
        .step(900, 1, false, true)
        .taken(1001, 2, 'b', 20)
        .begun(1003, 2, 'b', 20)
        .renewed(1005, 1, 'a')
        .failed(1010, 1, 'a', 'ERR_LOCK_LOST')
        .final('a', 'failed')
        .ended(1100, 2, 'b'),
    ],
    [
      'holder',
      'a key is let go of by whom it was taken from',
      first()
        .step(900, 1, false, true)
        .taken(1001, 2, 'b', 20)
        .begun(1003, 2, 'b', 20)
        .released(1005, 1, 'a')
        .failed(1010, 1, 'a', 'ERR_LOCK_LOST')
        .final('a', 'failed')
        .ended(1100, 2, 'b'),
    ],
    ['holder', 'a key is let go of twice', first().ended(100, 1, 'a').released(110, 1, 'a')],
    [
      'ttl',
      'the lease of a killed process blocks for longer',
      first()
        .tell(100, 0, { event: 'killed', of: 1 })
        .refused(2500, 2, 'b', 'a', 10)
        .failed(2502, 2, 'b', 'ERR_LOCK_HELD')
        .final('b', 'failed'),
    ],
    [
      'itself',
      'a job finds its own lease, and does not take it over',
      first()
        .tell(100, 0, { event: 'killed', of: 1 })
        .asked(200, 2, 'a', 'a2')
        .tell(201, 2, {
          event: 'refused',
          token: 'a2',
          holder: { owner: 'a', attempt: 1, fence: 10, state: 'running' },
        })
        .completed(202, 2, 'a', 'skipped')
        .taken(1100, 3, 'b', 20)
        .begun(1101, 3, 'b', 20)
        .ended(1200, 3, 'b')
        // It has run to its end before, so that it is not lost.
        .tell(90, 1, { event: 'ran', run: 1, outcome: 'finished' }),
    ],
    [
      'time',
      'work believes that it holds the lock when its lease can have ended',
      first()
        .step(1001, 1)
        .tell(1002, 1, { event: 'ran', run: 1, outcome: 'finished' })
        .released(1003, 1, 'a', false)
        .final('a'),
    ],
    [
      'time',
      'a lock is lost, and the signal does not abort',
      first()
        .step(910, 1, false)
        .step(920, 1, false)
        .tell(921, 1, { event: 'ran', run: 1, outcome: 'finished' })
        .released(922, 1, 'a', false)
        .final('a'),
    ],
    [
      'time',
      'work runs under a lock that was not granted',
      story().begun(0, 1, 'a', 10).tell(1, 1, { event: 'ran', run: 1, outcome: 'finished' }).final('a'),
    ],
    [
      'free',
      'a key is found held after its holder let go of it',
      first().ended(100, 1, 'a').refused(110, 2, 'b', 'a', 10).completed(112, 2, 'b', 'skipped'),
    ],
    [
      'free',
      'whoever has ended does not let go',
      first()
        .tell(100, 1, { event: 'ran', run: 1, outcome: 'failed' })
        .failed(101, 1, 'a', 'oh')
        .final('a', 'failed'),
    ],
    [
      'fence',
      'a later holder has a lower fence',
      first().ended(100, 1, 'a').taken(200, 2, 'b', 9).begun(202, 2, 'b', 9).final('b', 'failed'),
    ],
    [
      'fence',
      'two holders have the same fence',
      first().ended(100, 1, 'a').taken(200, 2, 'b', 10).begun(202, 2, 'b', 10).ended(210, 2, 'b'),
    ],
    [
      'undecided',
      'a job is skipped though its claim was not decided',
      first()
        .asked(50, 2, 'b')
        .tell(51, 2, { event: 'undecided', token: 'b', problem: 'out of memory' })
        .tell(52, 2, { event: 'processed', owner: 'b', attempt: 1, outcome: 'skipped' })
        .ended(100, 1, 'a'),
    ],
    [
      'undecided',
      'a job is told what another of its process has met before it came',
      first()
        .refused(20, 2, 'b', 'a', 10)
        .completed(30, 2, 'b', 'skipped')
        .came(40, 2, 'c')
        .completed(50, 2, 'c', 'skipped')
        .ended(100, 1, 'a'),
    ],
    [
      'undecided',
      'a job runs though its claim was never answered',
      first().ended(100, 1, 'a').asked(150, 2, 'b').failed(200, 2, 'b', 'own error').final('b', 'failed'),
    ],
    ['lost', 'a job is completed and never ran', first().ended(100, 1, 'a').final('b')],
    [
      'lost',
      'a job was skipped because of one that never ran to its end',
      first().refused(50, 2, 'b', 'a', 10).completed(52, 2, 'b', 'skipped'),
    ],
    ['lost', 'a job is neither completed nor failed when all is over', first().final('a', 'active')],
    [
      'twice',
      'a job runs again after it has completed',
      first()
        .ended(100, 1, 'a')
        .asked(200, 2, 'a', 'a2')
        .tell(201, 2, { event: 'claimed', token: 'a2', fence: 20 })
        .begun(202, 2, 'a', 20),
    ],
    [
      'twice',
      'a key is taken while it is kept as done',
      first()
        .tell(100, 1, { event: 'ran', run: 1, outcome: 'finished' })
        .released(101, 1, 'a', true, 500)
        .completed(103, 1, 'a', 'finished')
        .taken(300, 2, 'b', 20)
        .begun(302, 2, 'b', 20)
        .ended(310, 2, 'b'),
    ],
    [
      'left',
      'a lock is there when all is over',
      first()
        .ended(100, 1, 'a')
        .tell(9001, 0, { event: 'left', keys: [KEY] }),
    ],
    [
      'unhandled',
      'nobody caught a rejection',
      first().ended(100, 1, 'a').tell(9001, 1, { event: 'unhandled', problem: 'unhandled rejection: oh' }),
    ],
  ];
  for (const [promise, what, told] of wrong) {
    it(`finds '${promise}' broken where ${what}, and nothing else`, () => {
      const { violations } = told;

      expect(violations.map(text => text.split(':')[0])).to.deep.equal([promise]);
    });
  }

  it('knows a promise for each of which there is a wrong history', () => {
    const promises: Record<Promised, true> = {
      ...{ exclusion: true, holder: true, ttl: true, itself: true, time: true, free: true, fence: true },
      ...{ undecided: true, lost: true, twice: true, left: true, unhandled: true },
    };

    expect(Object.keys(promises)).to.have.members([...new Set(wrong.map(([promise]) => promise))]);
  });

  it('refuses a history that makes no sense', () => {
    expect(() => check(story().renewed(0, 1, 'a').entries)).to.throw('speaks of a before it begins');
    expect(() => check(first().tell(5, 1, { event: 'renewed', token: 'a', ok: true }).entries)).to.throw(
      'an answer to what was never asked',
    );
  });
});

describe('a history', () => {
  it('is read back in the order of time, without the last line of a process that was killed in the midst of it', () => {
    const folder = mkdtempSync(join(tmpdir(), 'bullmq-once-history-'));
    const recorder = new Recorder(folder);
    recorder.write({ event: 'fault', name: 'second' }, 2);
    recorder.write({ event: 'fault', name: 'first' }, 1);
    recorder.close();
    appendFileSync(join(folder, '1.jsonl'), '{"at":3,"pid":1,"event":"fau');

    const entries = readHistory(folder);
    rmSync(folder, { recursive: true });

    const { pid } = process;
    expect(entries).to.deep.equal([
      { at: 1, pid, event: 'fault', name: 'first' },
      { at: 2, pid, event: 'fault', name: 'second' },
    ]);
  });
});
