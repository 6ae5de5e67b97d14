/** What becomes of a duplicate: the event of its job, and the line in its job's log. */

import { expect } from 'chai';
import { type LockEvent, MemoryCache, type OnceProcessorOptions, onceProcessor } from '../../src/index.ts';
import { Bench, oneOfEachKind, plainJob } from '../support/bullmq.ts';
import { until } from '../support/index.ts';

type WhenLocked = NonNullable<OnceProcessorOptions['whenLocked']>;

/** Each form of `whenLocked`, the type of its event, and the beginning of its line. */
const OUTCOMES: readonly (readonly [form: string, WhenLocked, type: LockEvent['type'], line: string])[] = [
  ["'skip'", 'skip', 'skipped', 'skipped'],
  ["'raise'", 'raise', 'raised', 'raised'],
  ['{ delay }', { delay: 50 }, 'delayed', 'delayed'],
  ['{ waitFor }', { waitFor: 50 }, 'skipped', 'skipped'],
  ["'keep-last'", 'keep-last', 'parked', 'parked'],
  ["'share'", 'share', 'parked', 'parked'],
  ['a function', () => 'handled', 'handled', 'handled'],
];

for (const setup of oneOfEachKind) {
  describe(`A duplicate (${setup.name})`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    const logOf = async (id: string | undefined) => (await bench.queue.getJobLogs(id as string)).logs;
    /** Nobody waits for the log of a job. */
    async function firstLogOf(id: string | undefined): Promise<string | undefined> {
      await until(async () => (await logOf(id)).length > 0, 'the job has a log');
      return (await logOf(id))[0];
    }

    for (const [form, whenLocked, type, line] of OUTCOMES) {
      it(`emits '${type}', and says so in its job log (whenLocked is ${form})`, async () => {
        const events: LockEvent[] = [];
        const { queueName } = bench;
        const holding = await bench.hold({
          whenLocked,
          logToJob: true,
          onEvent: event => events.push(event),
        });

        const duplicate = await bench.add({});
        await until(() => events.some(event => event.type === type));
        const log = await firstLogOf(duplicate.id);
        await holding.finish();
        await bench.ended(duplicate);

        const event = events.find(one => one.type === type) as LockEvent & { holder: object };
        expect(event).to.include({ key: 'k', queueName, jobId: duplicate.id, observed: false });
        expect(event.storedKey).to.equal(bench.storedName('k'));
        expect(event.holder).to.include({ key: 'k', jobId: holding.job.id, queueName, state: 'running' });
        expect(events[0]).to.include({ type: 'acquired', queueName, jobId: holding.job.id });
        expect(log).to.match(new RegExp(`^${line}: 'k' is held by job ${holding.job.id} of ${queueName}$`));
        expect(await logOf(holding.job.id)).to.deep.equal([]);
      });
    }

    it('says in its job log by which job the work was done (dedupeFor)', async () => {
      await bench.worker(onceProcessor(async () => 'ran', { key: 'k', dedupeFor: 60_000, logToJob: true }));
      const first = await bench.add({});
      await bench.ended(first);
      const duplicate = await bench.add({});
      await bench.ended(duplicate);

      expect(await firstLogOf(duplicate.id)).to.match(
        new RegExp(
          `^skipped: 'k' was done by job ${first.id} of ${bench.queueName} and stays held for another (59|60) s$`,
        ),
      );
    });

    it("says in its job log what would have become of it (the mode is 'observe')", async () => {
      const holding = await bench.hold({ mode: 'observe', raiseIfLock: true, logToJob: true });

      const duplicate = await bench.add({});
      await bench.result(duplicate);
      await holding.finish();

      expect(await firstLogOf(duplicate.id)).to.match(/^would be raised: 'k' is held by job /);
    });
  });
}

describe("The option 'logToJob'", () => {
  const failures: Record<string, () => unknown> = {
    throws: () => {
      throw new Error('no log');
    },
    rejects: async () => {
      throw new Error('no log');
    },
    rejects_with_nothing: () => Promise.reject(null),
  };
  for (const [how, log] of Object.entries(failures)) {
    it(`harms no job (job.log ${how.replaceAll('_', ' ')})`, async () => {
      const options = { key: 'k', cache: new MemoryCache(), dedupeFor: 60_000, logToJob: true };
      const processor = onceProcessor(() => 'ran', options);

      const results = [await processor(plainJob('1')), await processor(plainJob('2', { log }))];
      await new Promise(setImmediate);

      expect(results).to.deep.equal(['ran', undefined]);
    });
  }
});
