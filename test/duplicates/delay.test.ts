import type { Job } from 'bullmq';
import { expect } from 'chai';
import { type Holder, MemoryCache, onceProcessor } from '../../src/index.ts';
import { Bench, oneOfEachKind } from '../support/bullmq.ts';
import { deferred, until } from '../support/index.ts';

for (const setup of oneOfEachKind) {
  describe(`a duplicate that is put off, on ${setup.name}`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    it('runs later, and costs none of its attempts', async () => {
      const gate = deferred();
      const ran: unknown[] = [];
      const worker = await bench.worker(
        onceProcessor(
          async (job: Job) => {
            ran.push(job.id);
            if (ran.length === 1) await gate.promise;
            return { attemptsMade: job.attemptsMade, attemptsStarted: job.attemptsStarted };
          },
          { key: 'k', whenLocked: { retryIn: 50 } },
        ),
        { concurrency: 2 },
      );
      const failures: Error[] = [];
      worker.on('failed', (_job, error) => failures.push(error));
      const first = await bench.add({});
      await until(() => ran.length === 1);

      const duplicate = await bench.add({});
      await until(async () => (await duplicate.getState()) === 'delayed');
      gate.resolve();
      await bench.result(first);

      const { attemptsMade, attemptsStarted } = (await bench.result(duplicate)) as Record<string, number>;
      expect(ran).to.deep.equal([first.id, duplicate.id]);
      expect(attemptsMade).to.equal(0);
      expect(attemptsStarted).to.be.greaterThan(1);
      expect(failures).to.deep.equal([]);
    });

    it('raises after its limit', async () => {
      const gate = deferred();
      let running = false;
      let starts = 0;
      await bench.worker(
        onceProcessor(
          async () => {
            running = true;
            await gate.promise;
          },
          {
            key: () => {
              starts++;
              return 'k';
            },
            whenLocked: { retryIn: 10, limit: 2 },
          },
        ),
        { concurrency: 2 },
      );
      const first = await bench.add({});
      await until(() => running);

      const failure = await bench.failure(await bench.add({}));
      gate.resolve();
      await bench.result(first);

      expect(failure).to.match(/^lock 'k' is held by/);
      expect(starts).to.equal(1 + 3);
    });

    it("comes back when the holder's lease would end, or when a function says", async () => {
      const gate = deferred();
      const asked: [unknown, Holder][] = [];
      let running = false;
      const fn = async () => {
        running = true;
        await gate.promise;
      };
      const byFunction = onceProcessor(fn, {
        key: 'k',
        whenLocked: {
          retryIn: (job: Job, holder) => {
            asked.push([job.id, holder]);
            return 5_000;
          },
        },
      });
      const byHolder = onceProcessor(fn, { key: 'k', whenLocked: { retryIn: 'holder' } });
      await bench.worker(
        (job: Job, token?: string) =>
          (job.data.by === 'holder' ? byHolder : byFunction)(job as never, token) as never,
        { concurrency: 3 },
      );
      const first = await bench.add({ by: 'holder' });
      await until(() => running);

      const [one, other] = [await bench.add({ by: 'holder' }), await bench.add({ by: 'function' })];
      await until(async () => (await bench.queue.getDelayedCount()) === 2);
      const delays = await Promise.all(
        [one, other].map(async ({ id }) => (await bench.queue.getJob(`${id}`))?.delay),
      );
      gate.resolve();
      await bench.result(first);

      expect(delays[0]).to.be.within(25_000, 30_000 * 1.25 + 100);
      expect(delays[1]).to.be.within(4_900, 5_000 * 1.25 + 100);
      expect(asked[0]?.[0]).to.equal(other.id);
      expect(asked[0]?.[1]).to.include({ state: 'running' });
    });

    it('fails with a LockError before BullMQ would fail it for having started too often', async () => {
      const gate = deferred();
      let running = false;
      await bench.worker(
        onceProcessor(
          async () => {
            running = true;
            await gate.promise;
          },
          { key: 'k', whenLocked: { retryIn: 10 } },
        ),
        { concurrency: 2, maxStartedAttempts: 3 },
      );
      const first = await bench.add({});
      await until(() => running);

      const failure = await bench.failure(await bench.add({}));
      gate.resolve();
      await bench.result(first);

      expect(failure).to.match(/^lock 'k' is held by/);
    });

    it('is one of twenty with one key: never two at once, all run, each once', async () => {
      let running = 0;
      const ran: unknown[] = [];
      const overlaps: unknown[] = [];
      await bench.worker(
        onceProcessor(
          async (job: Job) => {
            if (++running > 1) overlaps.push(job.id);
            await new Promise(resolve => setTimeout(resolve, 5));
            ran.push(job.id);
            running--;
          },
          { key: 'k', whenLocked: { retryIn: 20 } },
        ),
        { concurrency: 10 },
      );

      const jobs = await Promise.all(Array.from({ length: 20 }, () => bench.add({})));
      await until(async () => (await bench.queue.getCompletedCount()) === 20);

      expect(overlaps).to.deep.equal([]);
      expect(ran).to.have.members(jobs.map(({ id }) => id));
      expect(await bench.holder('k')).to.equal(undefined);
    });
  });
}

describe('a duplicate that is put off', () => {
  it('fails where the function that says for how long says nonsense', async () => {
    const cache = new MemoryCache();
    const job = (id: string) => ({
      id,
      name: 'j',
      data: {},
      timestamp: 1,
      queueName: 'q',
      queueQualifiedName: 'bull:q',
      opts: {},
    });
    const gate = deferred();
    const guarded = onceProcessor(() => gate.promise, {
      key: 'k',
      cache,
      whenLocked: { retryIn: () => Number.NaN },
    });
    const first = guarded(job('1') as never);

    const error = await guarded(job('2') as never).catch(thrown => thrown);
    gate.resolve();
    await first;

    expect(error).to.be.instanceOf(TypeError);
    expect(error.message).to.equal(
      "onceProcessor: the function of option 'whenLocked.retryIn' must return a number of milliseconds, not NaN",
    );
  });
});
