/** Jobs that fail, or that move themselves with BullMQ's own errors: the guard hides nothing of it. */

import {
  DelayedError,
  type Job,
  RateLimitError,
  UnrecoverableError,
  WaitingChildrenError,
  WaitingError,
} from 'bullmq';
import { expect } from 'chai';
import { LockError, onceProcessor } from '../../src/index.ts';
import { Bench, setups } from '../support/bullmq.ts';
import { deferred, until } from '../support/index.ts';

for (const setup of setups) {
  describe(`A guarded job that fails (${setup.name})`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    it('fails with what its processor throws, and releases its key', async () => {
      class OwnError extends Error {}
      const thrown = [new OwnError('a'), new UnrecoverableError('no more')];
      const seen: Error[] = [];
      let runs = 0;
      const worker = await bench.worker(
        onceProcessor(
          async () => {
            throw thrown[runs++];
          },
          { key: 'k' },
        ),
      );
      worker.on('failed', (_job, error) => seen.push(error));

      const failure = await bench.failure(await bench.add({}, { attempts: 5 }));

      await until(() => seen.length === 2);
      expect(failure).to.equal('no more');
      expect(seen).to.have.length(2);
      expect(seen[0]).to.equal(thrown[0]);
      expect(seen[1]).to.equal(thrown[1]);
      expect(await bench.holder('k')).to.equal(undefined);
    });

    it('runs again at its next attempt: it is no duplicate of itself', async () => {
      let runs = 0;
      await bench.worker(
        onceProcessor(
          async () => {
            if (++runs < 3) throw new Error('not yet');
            return runs;
          },
          { key: 'k', raiseIfLock: true },
        ),
      );

      expect(await bench.result(await bench.add({}, { attempts: 3 }))).to.equal(3);
    });
  });

  describe(`A duplicate under raiseIfLock (${setup.name})`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    it('fails with a LockError that names the job that holds the key', async () => {
      const first = await bench.hold({ key: 'k-{id}', raiseIfLock: true }, { data: { id: 1 } });
      const failures: Error[] = [];
      first.worker.on('failed', (_job, failure) => failures.push(failure));

      await bench.ended(await bench.add({ id: 1 }));
      await until(() => failures.length === 1);
      await first.finish();

      const error = failures[0] as LockError;
      expect(error).to.be.instanceOf(LockError);
      expect(error).to.include({ code: 'ERR_LOCK_HELD', key: 'k-1' });
      expect(error.holder).to.include({ state: 'running', jobId: first.job.id, queueName: bench.queueName });
      expect(error.holder.owner).to.match(new RegExp(`:${first.job.id}@\\d+$`));
      expect(error.holder.expiresIn).to.be.within(1, 30_000);
      const holder = `job ${first.job.id} of ${bench.queueName}`;
      expect(error.message).to.match(new RegExp(`^lock 'k-1' is held by ${holder}$`));
    });

    it('is retried by its attempts and its backoff, and runs once the key is free', async () => {
      const first = await bench.hold({ raiseIfLock: true });
      const failures: Error[] = [];
      first.worker.on('failed', (_job, failure) => failures.push(failure));

      const duplicate = await bench.add({}, { attempts: 100, backoff: { type: 'fixed', delay: 50 } });
      await until(() => failures.length === 1);
      await first.finish();
      await bench.result(duplicate);

      expect(first.ran).to.deep.equal([first.job.id, duplicate.id]);
    });

    it('fails for good if it has no attempts left', async () => {
      const first = await bench.hold({ raiseIfLock: true });

      const failure = await bench.failure(await bench.add({}));
      await first.finish();

      expect(failure).to.match(/^lock 'k' is held by/);
    });
  });

  describe(`A guarded job that moves itself (${setup.name})`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    const moves: Record<string, (job: Job, token: string | undefined) => Promise<Error>> = {
      'moved to delayed': async (job, token) => {
        await job.moveToDelayed(Date.now() + 20, token);
        return new DelayedError();
      },
      'moved to waiting': async (job, token) => {
        await job.moveToWait(token);
        return new WaitingError();
      },
      'rate limited': async () => {
        await bench.queue.rateLimit(20);
        return new RateLimitError();
      },
    };

    for (const [how, move] of Object.entries(moves)) {
      it(`runs again later, at no cost of an attempt, and releases its key (${how})`, async () => {
        let runs = 0;
        await bench.worker(
          onceProcessor(
            async (job: Job, token) => {
              if (++runs === 1) throw await move(job, token);
              return 'second run';
            },
            { key: 'k', raiseIfLock: true },
          ),
          { limiter: { max: 100, duration: 1000 } },
        );

        const job = await bench.add({});

        expect(await bench.result(job)).to.equal('second run');
        expect((await bench.queue.getJob(job.id as string))?.attemptsMade).to.equal(1);
        expect(await bench.holder('k')).to.equal(undefined);
      });
    }

    it('runs again once its children have completed, and releases its key', async () => {
      const children = await Bench.open(setup);
      const hasMoved = deferred();
      await children.worker(async () => {
        await hasMoved.promise;
        return 'child';
      });
      let runs = 0;
      await bench.worker(
        onceProcessor(
          async (job: Job, token) => {
            if (++runs > 1) return Object.values(await job.getChildrenValues());
            const parent = { id: job.id as string, queue: job.queueQualifiedName };
            await children.queue.add('child', {}, { parent });
            await job.moveToWaitingChildren(token as string);
            hasMoved.resolve();
            throw new WaitingChildrenError();
          },
          { key: 'k' },
        ),
      );

      const result = await bench.result(await bench.add({}));
      await children.close();

      expect(result).to.deep.equal(['child']);
      expect(await bench.holder('k')).to.equal(undefined);
    });
  });
}

describe('A guarded job that is retried after a newer one has acquired its key', () => {
  it('is skipped, and leaves the key to the newer one', async () => {
    const bench = await Bench.open();
    const gate = deferred();
    const ran: unknown[] = [];
    await bench.worker(
      onceProcessor(
        async (job: Job<{ n: number }>) => {
          ran.push(job.data.n);
          if (job.data.n === 1) throw new Error('failed');
          await gate.promise;
        },
        { key: 'k' },
      ),
      { concurrency: 2 },
    );
    const older = await bench.add({ n: 1 }, { attempts: 2, backoff: { type: 'fixed', delay: 300 } });
    await until(() => ran.length === 1);
    const newer = await bench.add({ n: 2 });
    await until(() => ran.length === 2);

    const retried = await bench.result(older);
    const holder = await bench.holder('k');
    gate.resolve();
    await bench.result(newer);

    expect(retried).to.equal(null);
    expect(holder?.owner).to.match(new RegExp(`:${newer.id}@`));
    expect(ran).to.deep.equal([1, 2]);
    await bench.close();
  });
});
