/** Guarded jobs that are to stop: they hang, BullMQ cancels them, or their worker closes. */

import type { Job } from 'bullmq';
import { expect } from 'chai';
import { onceProcessor } from '../../src/index.ts';
import { Bench, setups } from '../support/bullmq.ts';
import { deferred, until } from '../support/index.ts';

for (const setup of setups) {
  describe(`A guarded job that hangs for longer than maxHold (${setup.name})`, () => {
    it('gets an aborted signal, and blocks its key no longer than its lease', async () => {
      const bench = await Bench.open(setup);
      const signals: AbortSignal[] = [];
      const gate = deferred();
      await bench.worker(
        onceProcessor(
          async (_job: Job, _token, signal) => {
            signals.push(signal as AbortSignal);
            if (signals.length === 1) await gate.promise;
            return signals.length;
          },
          { key: 'k', ttl: 800, maxHold: 100 },
        ),
        { concurrency: 2 },
      );
      const hanging = await bench.add({});
      await until(() => signals[0]?.aborted);
      const afterAbort = await bench.holder('k');

      await until(async () => (await bench.holder('k')) === undefined);
      const next = await bench.result(await bench.add({}));
      gate.resolve();

      expect(signals[0]?.reason).to.include({ code: 'ERR_LOCK_LOST', reason: 'max-hold-exceeded' });
      expect(afterAbort?.state).to.equal('running');
      expect(next).to.equal(2);
      expect(await bench.result(hanging)).to.equal(2);
      await bench.close();
    });
  });

  describe(`A guarded job that BullMQ cancels (${setup.name})`, () => {
    it("gets a signal that is aborted with BullMQ's reason, and still holds its key", async () => {
      const bench = await Bench.open(setup);
      const started = deferred();
      const worker = await bench.worker(
        onceProcessor(
          async (_job, _token, signal, lock) => {
            started.resolve();
            await new Promise((_resolve, reject) => {
              signal?.addEventListener('abort', () =>
                reject(new Error(`cancelled: ${signal.reason}, ${lock.held}`)),
              );
            });
          },
          { key: 'k' },
        ),
      );
      const job = await bench.add({});
      await started.promise;

      worker.cancelJob(job.id as string, 'no longer wanted');

      expect(await bench.failure(job)).to.equal('cancelled: no longer wanted, true');
      await bench.close();
    });
  });

  describe(`A guarded job that BullMQ can't cancel (${setup.name})`, () => {
    it('works on (its processor has two parameters)', async () => {
      const bench = await Bench.open(setup);
      const gate = deferred();
      const started = deferred();
      const twoParameters = async (_job: Job, _token?: string) => {
        started.resolve();
        await gate.promise;
        return 'worked';
      };
      const worker = await bench.worker(onceProcessor(twoParameters, { key: 'k' }));
      const job = await bench.add({});
      await started.promise;

      expect(worker.cancelJob(job.id as string)).to.equal(false);
      gate.resolve();
      expect(await bench.result(job)).to.equal('worked');
      await bench.close();
    });

    it('runs when it is its turn (it is parked)', async () => {
      const bench = await Bench.open(setup);
      const { worker, finish } = await bench.hold({ whenLocked: 'in-order' });
      const parked = await bench.add({});
      await until(async () => (await parked.getState()) === 'delayed');

      expect(worker.cancelJob(parked.id as string)).to.equal(false);
      await finish();
      expect(await bench.result(parked)).to.equal('worked');
      await bench.close();
    });
  });

  describe(`A worker that closes while a guarded job runs (${setup.name})`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    it('leaves no lock behind', async () => {
      const { worker, finish } = await bench.hold();

      const closed = worker.close();
      await finish();
      await closed;

      expect(await bench.holder('k')).to.equal(undefined);
    });

    it('causes no unhandled rejection if it is closed by force', async () => {
      const unhandled: unknown[] = [];
      const note = (reason: unknown) => unhandled.push(reason);
      process.on('unhandledRejection', note);
      const gate = deferred();
      const started = deferred();
      const worker = await bench.worker(
        onceProcessor(
          async () => {
            started.resolve();
            await gate.promise;
          },
          { key: 'k' },
        ),
      );
      await bench.add({});
      await started.promise;

      await worker.close(true);
      gate.resolve();
      await new Promise(resolve => setTimeout(resolve, 100));

      process.off('unhandledRejection', note);
      expect(unhandled).to.deep.equal([]);
    });
  });
}
