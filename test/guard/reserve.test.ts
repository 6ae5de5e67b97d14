import { DelayedError, type Job, UnrecoverableError, WaitingChildrenError } from 'bullmq';
import { expect } from 'chai';
import { onceProcessor } from '../../src/index.ts';
import { Bench, oneOfEachKind } from '../support/bullmq.ts';
import { deferred, until } from '../support/index.ts';

const TTL = 2_000;

for (const setup of oneOfEachKind) {
  describe(`holdThroughRetries on ${setup.name}`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    const backoffs = {
      none: undefined,
      fixed: { type: 'fixed', delay: 1_500 },
      'fixed, with jitter': { type: 'fixed', delay: 1_500, jitter: 0.5 },
      exponential: { type: 'exponential', delay: 1_500 },
      custom: { type: 'custom' },
    };

    for (const [kind, backoff] of Object.entries(backoffs)) {
      it(`keeps the key through a backoff: ${kind}`, async () => {
        const ran: unknown[] = [];
        await bench.worker(
          onceProcessor(
            async (job: Job) => {
              ran.push(job.id);
              if (job.id === first.id && ran.length === 1) throw new Error('once more');
              return 'worked';
            },
            { key: 'k', ttl: TTL, holdThroughRetries: true },
          ),
          { concurrency: 2, settings: { backoffStrategy: () => 1_500 } },
        );
        const options = backoff === undefined ? { attempts: 2 } : { attempts: 2, backoff };
        await bench.queue.pause();
        const first = await bench.add({}, options);
        await bench.queue.resume();

        if (backoff !== undefined) {
          await until(async () => (await first.getState()) === 'delayed');
          expect(await bench.result(await bench.add({}))).to.equal(null);
          // Long enough for the retry, and no longer than a ttl beyond it.
          await until(async () => ((await bench.holder('k'))?.expiresIn ?? 0) > TTL);
          expect((await bench.holder('k'))?.expiresIn).to.be.at.most(1_500 + TTL);
        }

        expect(await bench.result(first)).to.equal('worked');
        expect(ran).to.deep.equal([first.id, first.id]);
        expect(await bench.holder('k')).to.equal(undefined);
      });
    }

    it('lets go when the job fails for good', async () => {
      const jobs: [object, () => Error][] = [
        [{}, () => new Error('no attempts left')],
        [{ attempts: 5 }, () => new UnrecoverableError('no use')],
      ];
      let failWith = () => new Error();
      await bench.worker(
        onceProcessor(
          () => {
            throw failWith();
          },
          { key: 'k', holdThroughRetries: true },
        ),
      );

      for (const [options, error] of jobs) {
        failWith = error;
        expect(await bench.failure(await bench.add({}, options))).to.equal(error().message);
        expect(await bench.holder('k')).to.equal(undefined);
      }
    });

    it('lets go of a job whose custom backoff says that it is not to be retried', async () => {
      await bench.worker(
        onceProcessor(
          () => {
            throw new Error('failed');
          },
          { key: 'k', holdThroughRetries: true },
        ),
        { settings: { backoffStrategy: () => -1 } },
      );

      await bench.failure(await bench.add({}, { attempts: 5, backoff: { type: 'custom' } }));

      await until(async () => (await bench.holder('k')) === undefined);
    });

    it('keeps the key of a job that moves itself to delayed', async () => {
      let runs = 0;
      await bench.worker(
        onceProcessor(
          async (job: Job, token) => {
            if (runs++ > 0) return 'worked';
            await job.moveToDelayed(Date.now() + 1_000, token);
            throw new DelayedError();
          },
          { key: 'k', ttl: TTL, holdThroughRetries: true },
        ),
        { concurrency: 2 },
      );
      const first = await bench.add({});
      await until(async () => (await first.getState()) === 'delayed');

      expect(await bench.result(await bench.add({}))).to.equal(null);
      expect(await bench.result(first)).to.equal('worked');
      expect(runs).to.equal(2);
      expect(await bench.holder('k')).to.equal(undefined);
    });

    it('keeps the key of a job that waits for its children, for as long as that takes', async () => {
      const gate = deferred();
      const ran: unknown[] = [];
      const guarded = onceProcessor(
        async (job: Job, token) => {
          ran.push(job.id);
          if (ran.length > 1) return 'worked';
          const parent = { id: job.id as string, queue: job.queueQualifiedName };
          await bench.queue.add('child', { is: 'child' }, { parent });
          if (await job.moveToWaitingChildren(token as string)) throw new WaitingChildrenError();
          return 'had no children';
        },
        { key: 'k', ttl: 300, holdThroughRetries: true },
      );
      await bench.worker(
        ((job: Job, token?: string) =>
          job.name === 'child' ? gate.promise : guarded(job as never, token)) as never,
        { concurrency: 3 },
      );
      const parent = await bench.add({});
      await until(async () => (await parent.getState()) === 'waiting-children');
      const { fence } = (await bench.holder('k')) as { fence: number };

      // Three of its ttl.
      await new Promise(resolve => setTimeout(resolve, 900));
      expect(await bench.result(await bench.add({}))).to.equal(null);
      expect(await bench.holder('k')).to.include({ fence });
      gate.resolve();

      expect(await bench.result(parent)).to.equal('worked');
      expect(await bench.holder('k')).to.equal(undefined);
    });
  });
}
