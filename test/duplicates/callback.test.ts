/** `whenLocked: (job, holder) => …`: the user's function decides what becomes of a duplicate. */

import type { Job } from 'bullmq';
import { expect } from 'chai';
import { type LockEvent, onceProcessor } from '../../src/index.ts';
import { Bench, oneOfEachKind } from '../support/bullmq.ts';
import { until } from '../support/index.ts';

for (const setup of oneOfEachKind) {
  describe(`A duplicate that a function handles (${setup.name})`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    it('completes with what the function returns', async () => {
      const first = await bench.hold({
        whenLocked: (job: Job<{ n: number }>, holder) => `${job.data.n} finds it ${holder.state}`,
      });

      expect(await bench.result(await bench.add({ n: 2 }))).to.equal('2 finds it running');

      expect(await first.finish()).to.equal('worked');
      expect(first.ran).to.deep.equal([first.job.id]);
    });

    it('fails with what the function throws', async () => {
      const first = await bench.hold({
        whenLocked: () => {
          throw new Error('no second');
        },
      });

      expect(await bench.failure(await bench.add({}))).to.equal('no second');

      expect(await first.finish()).to.equal('worked');
      expect(first.ran).to.deep.equal([first.job.id]);
    });

    it("emits 'handled', and says so in its job log (logToJob)", async () => {
      const events: LockEvent[] = [];
      const first = await bench.hold({
        whenLocked: () => 'handled',
        logToJob: true,
        onEvent: event => events.push(event),
      });

      const duplicate = await bench.add({});
      await bench.result(duplicate);
      await first.finish();

      const { queueName } = bench;
      const handled = events.filter(({ jobId }) => jobId === duplicate.id);
      expect(handled.map(({ type }) => type)).to.deep.equal(['handled']);
      expect(handled[0]).to.include({ key: 'k', queueName, observed: false });
      expect(handled[0]).to.have.nested.property('holder.jobId', first.job.id);
      const logs = async () => (await bench.queue.getJobLogs(duplicate.id as string)).logs;
      await until(async () => (await logs()).length > 0);
      expect(await logs()).to.have.length(1);
      expect((await logs())[0]).to.match(
        new RegExp(`^handled: 'k' is held by job ${first.job.id} of ${queueName}$`),
      );
    });
  });
}

describe('The function of whenLocked', () => {
  it('is not called while the key is free', async () => {
    const bench = await Bench.open();
    let calls = 0;
    const fn = async (): Promise<unknown> => 'ran';
    await bench.worker(onceProcessor(fn, { key: 'k', whenLocked: () => ++calls }));

    expect(await bench.result(await bench.add({}))).to.equal('ran');

    expect(calls).to.equal(0);
    await bench.close();
  });
});
