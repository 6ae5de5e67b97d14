/** A producer may choose the id and the name of a job. They are copied into the records of others, so they are bounded and escaped. */

import type { Job } from 'bullmq';
import { expect } from 'chai';
import { type LockError, type LockEvent, MemoryCache, onceProcessor } from '../../src/index.ts';
import { Bench, oneOfEachKind, plainJob } from '../support/bullmq.ts';
import { deferred, rejection } from '../support/index.ts';

/** BullMQ on PostgreSQL has an index of ids, which takes no longer ones. */
const LONG_ID = `first\n\u001b[2J\u202e${'x'.repeat(1000)}`;
/** What messages show of it: the beginning of its owner, and a hash. */
const SHOWN = /^[^\p{Cc}\p{Cf}]*first\\n\\u001b\[2J\\u202ex+~[\w-]{43}[^\p{Cc}\p{Cf}]*$/u;
const withLongId = { jobOptions: { jobId: LONG_ID } };

for (const setup of oneOfEachKind) {
  describe(`A job whose id is long and hostile (${setup.name})`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    it('makes neither the record of its lock nor its duplicates large', async () => {
      const events: LockEvent[] = [];
      const onEvent = (event: LockEvent) => events.push(event);
      const { finish } = await bench.hold({ raiseIfLock: true, logToJob: true, onEvent }, withLongId);

      const duplicate = await bench.add({});
      const failure = await bench.failure(duplicate);
      const { logs } = await bench.queue.getJobLogs(duplicate.id as string);
      const holder = await bench.holder('k');
      await finish();

      expect(holder?.owner).to.have.length(512);
      expect(failure).to.match(SHOWN);
      expect(logs[0]).to.match(SHOWN);
      for (const event of events) expect(JSON.stringify(event).length).to.be.below(3000);
    });
  });
}

describe("A job whose id is long, with whenLocked: 'keep-last'", () => {
  it('is parked, and comes back by itself: nobody can promote it', async () => {
    const bench = await Bench.open();
    const { finish, ran } = await bench.hold({ whenLocked: 'keep-last' }, withLongId);
    const newest = await bench.add({}, { jobId: `${LONG_ID}2` });
    await bench.reaches(newest, 'delayed');
    await finish();

    // The lease of its holder would have ended in 30 s.
    const { delay } = (await bench.queue.getJob(newest.id as string)) as Job;
    await bench.reaches(newest, 'completed');

    expect(delay).to.be.within(1, 5000);
    expect(ran).to.deep.equal([LONG_ID, `${LONG_ID}2`]);
    await bench.close();
  });
});

describe('A job whose id has a megabyte', () => {
  const LONG = 'x'.repeat(1e6);

  /** Runs a job of a key until it is finished. */
  function held(id: string) {
    const gate = deferred();
    const events: LockEvent[] = [];
    const processor = onceProcessor(
      async (job: Job): Promise<unknown> => (job.attemptsStarted === 1 ? gate.promise : 'ran'),
      {
        key: 'k',
        cache: new MemoryCache(),
        raiseIfLock: true,
        onEvent: (event: LockEvent) => events.push(event),
      },
    );
    const first = processor(plainJob(id, { attemptsStarted: 1 }));
    const finish = () => {
      gate.resolve();
      return first;
    };
    return { processor, events, finish };
  }

  it('is named by the error of its duplicate in a few hundred characters', async () => {
    const { processor, finish } = held(LONG);

    const error = (await rejection(processor(plainJob('2', { attemptsStarted: 1 })))) as Error as LockError;
    await finish();

    expect(error.message).to.match(/^lock 'k' is held by bull:emails:x+~[\w-]{43}$/);
    expect(error.message.length).to.be.below(600);
    expect(JSON.stringify(error.holder).length).to.be.below(1000);
    // Its id is not known, and is not taken for another.
    expect(error.holder).not.to.have.property('jobId');
  });

  it('has a shortened id in its events', async () => {
    const { events, finish } = held(LONG);

    await finish();

    expect(events.map(({ type }) => type)).to.deep.equal(['acquired', 'released']);
    for (const { jobId } of events) expect(jobId).to.match(/^x{468}~[\w-]{43}$/);
  });

  it('reclaims its own lease, and nobody else does', async () => {
    const { processor, finish } = held(LONG);

    const other = await rejection(processor(plainJob(`${LONG}2`, { attemptsStarted: 2 })));
    const again = await processor(plainJob(LONG, { attemptsStarted: 2 }));
    await finish();

    expect(other).to.include({ code: 'ERR_LOCK_HELD' });
    expect(again).to.equal('ran');
  });

  it('runs under a default key that is short, also where its name has a megabyte', async () => {
    const keys: string[] = [];
    const processor = onceProcessor((_job: Job, _token, _signal, lock) => void keys.push(lock.key), {
      cache: new MemoryCache(),
    });

    await processor(plainJob(LONG, { name: LONG }));

    expect(keys[0]).to.match(/^x{256}~[\w-]{43}$/);
  });
});

describe('A job whose data have many fields', () => {
  it('fails with an error that names the first twenty', async () => {
    const data = Object.fromEntries(
      Array.from({ length: 60_000 }, (_, i) => [`f${i}\n${'x'.repeat(200)}`, i]),
    );
    const processor = onceProcessor(async () => {}, { key: 'k-{id}', cache: new MemoryCache() });

    const error = await rejection(processor(plainJob('1', { data })));

    expect(error.message).to.match(/has no 'id' \(it has: f0\\nx+…, .*, f19\\nx+… … and 59 980 more\)$/);
    expect(error.message.length).to.be.below(2500);
    expect(error.fields).to.have.length(20);
  });
});
