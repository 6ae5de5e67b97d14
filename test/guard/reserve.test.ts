/** `holdThroughRetries`: a job that will run again reserves its key until then. */

import { DelayedError, type Job, UnrecoverableError, WaitingChildrenError } from 'bullmq';
import { expect } from 'chai';
import { onceProcessor } from '../../src/index.ts';
import { Bench, oneOfEachKind } from '../support/bullmq.ts';
import { deferred, until } from '../support/index.ts';

const TTL = 2_000;
/** Longer than any test takes: the jobs are promoted. */
const BACKOFF = 60_000;
const WEEK = 7 * 86_400_000;

for (const setup of oneOfEachKind) {
  describe(`A job under holdThroughRetries (${setup.name})`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    /** The key is reserved, and it is known when the job is expected back. */
    async function expectReserved({ dueIn: expected = BACKOFF } = {}): Promise<void> {
      await until(async () => (await bench.holder('k'))?.state === 'reserved');
      const { dueIn = 0, expiresIn = 0 } = (await bench.holder('k')) ?? {};
      expect(dueIn).to.be.within(Math.min(expected - 10_000, 0), expected);
      expect(expiresIn).to.be.within(WEEK - 10_000, WEEK);
    }

    /** A worker whose first job fails at its first attempt. */
    async function failingAtFirst(options: object): Promise<{ job: Job; ran: unknown[] }> {
      const ran: unknown[] = [];
      await bench.worker(
        onceProcessor(
          async (job: Job) => {
            ran.push(job.id);
            if (ran.length === 1) throw new Error('once more');
            return 'worked';
          },
          { key: 'k', ttl: TTL, holdThroughRetries: true },
        ),
        { concurrency: 2, settings: { backoffStrategy: () => BACKOFF } },
      );
      return { job: await bench.add({}, { attempts: 2, ...options }), ran };
    }

    for (const [kind, backoff] of Object.entries({
      fixed: { type: 'fixed', delay: BACKOFF },
      'fixed, with jitter': { type: 'fixed', delay: BACKOFF, jitter: 0.5 },
      exponential: { type: 'exponential', delay: BACKOFF },
      custom: { type: 'custom' },
    })) {
      it(`keeps its key until its retry, and reclaims it then (backoff: ${kind})`, async () => {
        const { job, ran } = await failingAtFirst({ backoff });
        await bench.reaches(job, 'delayed');

        expect(await bench.result(await bench.add({}))).to.equal(null);
        await expectReserved({ dueIn: kind === 'custom' ? 0 : BACKOFF });
        await job.promote();

        expect(await bench.result(job)).to.equal('worked');
        expect(ran).to.deep.equal([job.id, job.id]);
        expect(await bench.holder('k')).to.equal(undefined);
      });
    }

    it('reclaims its key at a retry that comes at once (backoff: none)', async () => {
      const { job, ran } = await failingAtFirst({});

      expect(await bench.result(job)).to.equal('worked');
      expect(ran).to.deep.equal([job.id, job.id]);
      expect(await bench.holder('k')).to.equal(undefined);
    });

    for (const [how, options, error] of [
      ['it has no attempts left', {}, new Error('no attempts left')],
      ['it throws an UnrecoverableError', { attempts: 5 }, new UnrecoverableError('no use')],
    ] as const) {
      it(`releases its key when it fails for good (${how})`, async () => {
        await bench.worker(
          onceProcessor(
            () => {
              throw error;
            },
            { key: 'k', holdThroughRetries: true },
          ),
        );

        expect(await bench.failure(await bench.add({}, options))).to.equal(error.message);
        expect(await bench.holder('k')).to.equal(undefined);
      });
    }

    it('keeps its key when it moves itself to delayed', async () => {
      let runs = 0;
      await bench.worker(
        onceProcessor(
          async (job: Job, token) => {
            if (runs++ > 0) return 'worked';
            await job.moveToDelayed(Date.now() + BACKOFF, token);
            throw new DelayedError();
          },
          { key: 'k', ttl: TTL, holdThroughRetries: true },
        ),
        { concurrency: 2 },
      );
      const job = await bench.add({});
      await bench.reaches(job, 'delayed');

      expect(await bench.result(await bench.add({}))).to.equal(null);
      await expectReserved();
      await job.promote();

      expect(await bench.result(job)).to.equal('worked');
      expect(runs).to.equal(2);
      expect(await bench.holder('k')).to.equal(undefined);
    });

    it('keeps its key while it waits for its children, for as long as that takes', async () => {
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
        async (job: Job, token?: string) =>
          job.name === 'child' ? gate.promise : guarded(job as never, token),
        { concurrency: 3 },
      );
      const parent = await bench.add({});
      await bench.reaches(parent, 'waiting-children');
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
