/** What becomes of duplicates is noted in the journal of their queue. */

import type { Job } from 'bullmq';
import { expect } from 'chai';
import {
  type JournalPage,
  type JournalRecord,
  type LockCache,
  locksOf,
  onceProcessor,
} from '../../src/index.ts';
import { Bench, oneOfEachKind } from '../support/bullmq.ts';
import { deferred, until } from '../support/index.ts';
import { acquireStep } from '../support/steps.ts';

for (const setup of oneOfEachKind) {
  describe(`The journal of a queue (${setup.name})`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    async function journalOf(duplicates: number): Promise<JournalRecord> {
      const admin = locksOf(bench.queue);
      await until(async () => (await admin.journal()).duplicates.length >= duplicates, 'they are noted');
      return admin.journal();
    }

    it('says what became of a duplicate, and which job held its key', async () => {
      const first = await bench.hold();
      const job = await bench.add({});
      await bench.result(job);

      const { counts, duplicates } = await journalOf(1);
      await first.finish();

      expect(counts.map(({ outcome, count }) => [outcome, count])).to.deep.equal([['skipped', 1]]);
      const [{ at, holder, ...rest }] = duplicates as [JournalRecord['duplicates'][number]];
      expect(rest).to.deep.equal({ jobId: job.id, key: 'k', outcome: 'skipped', observed: false });
      expect(at).to.be.within(job.timestamp - 1000, Date.now() + 1000);
      expect(holder).to.include({ state: 'running', jobId: first.job.id, queueName: bench.queueName });
    });

    it('says what would have become of a job that is only observed', async () => {
      await bench.cache.acquire([acquireStep({ storedKey: bench.storedName('k') })]);
      await bench.worker(onceProcessor(() => 'ran', { key: 'k', mode: 'observe' }));
      const job = await bench.add({});
      await bench.result(job);

      const { duplicates } = await journalOf(1);

      expect(duplicates).to.have.length(1);
      expect(duplicates[0]).to.include({ jobId: job.id, outcome: 'skipped', observed: true });
    });

    it('counts each duplicate, and names one that comes again and again once a second', async () => {
      const first = await bench.hold({ whenLocked: { delay: 5 } });
      const job = await bench.add({});
      await until(
        async () => ((await bench.queue.getJob(job.id as string))?.attemptsStarted ?? 0) > 20,
        'it has come again',
      );
      await first.finish();
      await bench.result(job);
      const countOf = ({ counts }: JournalRecord) => counts.reduce((sum, { count }) => sum + count, 0);
      await until(async () => countOf(await locksOf(bench.queue).journal()) >= 20, 'all are counted');

      const journal = await journalOf(1);

      expect(journal.duplicates.length).to.be.lessThan(countOf(journal) / 2);
    });
  });
}

describe('The writes to a journal', () => {
  let bench: Bench;
  let pages: JournalPage[][];
  beforeEach(async () => {
    bench = await Bench.open();
    pages = [];
  });
  afterEach(() => bench.close());

  /** The queue's cache, with another method that writes journals. */
  function cacheThat(writes: (pages: readonly JournalPage[]) => Promise<void>): LockCache {
    return new Proxy(bench.cache, {
      get(target, name) {
        if (name === 'writeJournal') return writes;
        const value = Reflect.get(target, name, target);
        return typeof value === 'function' ? value.bind(target) : value;
      },
    });
  }

  async function duplicatesOf(
    count: number,
    cache: LockCache,
    { journal = true, staysOpen = false } = {},
  ): Promise<void> {
    const gate = deferred();
    let runs = 0;
    const worker = await bench.worker(
      onceProcessor(
        async () => {
          runs++;
          await gate.promise;
        },
        { key: 'k', cache, journal },
      ),
      { concurrency: 5 },
    );
    const first = await bench.add({});
    await until(() => runs === 1, 'the first runs');
    const jobs: Job[] = [];
    for (let i = 0; i < count; i++) jobs.push(await bench.add({}));
    for (const job of jobs) await bench.result(job);
    gate.resolve();
    await bench.result(first);
    if (!staysOpen) await worker.close();
  }

  it('are one at once, and then one a second', async () => {
    const at: number[] = [];
    const cache = cacheThat(async written => {
      at.push(performance.now());
      pages.push([...written]);
    });
    await duplicatesOf(30, cache, { staysOpen: true });
    const written = () => pages.flat().reduce((sum, { duplicates }) => sum + duplicates.length, 0);
    await until(() => written() === 30, 'all are written');

    const pauses = at.slice(1).map((time, i) => time - (at[i] as number));
    for (const pause of pauses) expect(pause).to.be.greaterThan(900);
  });

  it('come before the connection of a worker that closes is closed', async () => {
    await duplicatesOf(30, bench.cache);

    const { duplicates } = await locksOf(bench.queue).journal();
    expect(duplicates).to.have.length(30);
  });

  it('harm no job where they fail, or never end', async () => {
    await duplicatesOf(
      3,
      cacheThat(async () => {
        throw new Error('no journal today');
      }),
    );
    await duplicatesOf(
      3,
      cacheThat(() => new Promise(() => {})),
    );
  });

  it('do not happen where there are no duplicates, or with journal: false', async () => {
    const cache = cacheThat(async written => void pages.push([...written]));
    await duplicatesOf(0, cache);
    await duplicatesOf(3, cache, { journal: false });
    // What is noted is written in the next turn of the event loop.
    await new Promise(resolve => setImmediate(() => setImmediate(resolve)));

    expect(pages).to.deep.equal([]);
  });
});
