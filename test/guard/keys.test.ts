/** Where the keys of guarded jobs are stored: beside what BullMQ stores, apart for each queue or shared in a scope. */

import type { Job } from 'bullmq';
import { expect } from 'chai';
import { type LockError, onceProcessor } from '../../src/index.ts';
import { Bench, type HoldingJob, setupNamed } from '../support/bullmq.ts';
import { uniqueName } from '../support/index.ts';

describe('The key of a guarded job', () => {
  let bench: Bench;
  beforeEach(async () => {
    bench = await Bench.open();
  });
  afterEach(() => bench.close());

  it('is not disturbed by jobs whose ids look like it', async () => {
    await bench.worker(onceProcessor(async () => 'ran', { key: 'k' }));

    for (const jobId of ['once:1:k', 'once:a:b']) {
      expect(await bench.result(await bench.add({}, { jobId }))).to.equal('ran');
    }
  });

  it('stays held through removeOrphanedJobs, drain and clean', async () => {
    const { finish } = await bench.hold();

    const removed = await bench.queue.removeOrphanedJobs();
    await bench.queue.drain(true);
    await bench.queue.clean(0, 1000, 'completed');

    expect(removed).to.equal(0);
    expect((await bench.holder('k'))?.state).to.equal('running');
    await finish();
  });
});

describe('The keys of two queues', () => {
  let one: Bench;
  let other: Bench;
  beforeEach(async () => {
    [one, other] = [await Bench.open(), await Bench.open()];
  });
  afterEach(async () => {
    await one.close();
    await other.close();
  });

  /** Two workers with the same options. A job of the first queue holds the key; one of the second finds it held, or does not. */
  async function jobsOfBoth(options: { scope?: string; raiseIfLock?: boolean }): Promise<{
    first: HoldingJob;
    second: Job;
    otherRan: unknown[];
  }> {
    const otherRan: unknown[] = [];
    await other.worker(onceProcessor(async (job: Job) => otherRan.push(job.id), { key: 'k', ...options }));
    const first = await one.hold(options);
    return { first, second: await other.add({}), otherRan };
  }

  it('are apart by default', async () => {
    const { first, second, otherRan } = await jobsOfBoth({});

    expect(await other.result(second)).to.equal(1);
    await first.finish();

    expect(otherRan).to.deep.equal([second.id]);
  });

  it('exclude each other in one scope', async () => {
    const { first, second, otherRan } = await jobsOfBoth({ scope: uniqueName('scope') });

    expect(await other.result(second)).to.equal(null);
    await first.finish();

    expect(otherRan).to.deep.equal([]);
  });

  it('are held, in one scope, by a job whose queue the LockError names', async () => {
    const failures: Error[] = [];
    const scope = uniqueName('scope');
    const worker = await other.worker(
      onceProcessor(async () => 'ran', { key: 'k', scope, raiseIfLock: true }),
    );
    worker.on('failed', (_job, failure) => failures.push(failure));
    const first = await one.hold({ scope, raiseIfLock: true });

    const message = await other.failure(await other.add({}));
    await first.finish();

    const [error] = failures as LockError[];
    expect(message).to.match(new RegExp(`^lock 'k' is held by job ${first.job.id} of ${one.queueName}$`));
    expect(error?.holder).to.include({ key: 'k', jobId: first.job.id, queueName: one.queueName });
    expect(error?.holder.storedKey).to.equal(`once::1:${scope}:k`);
  });
});

describe('A scope', () => {
  it('is shared by a queue of BullMQ 6 and one of BullMQ 5', async () => {
    const six = await Bench.open(setupNamed('BullMQ 6 with ioredis options'));
    const five = await Bench.open(setupNamed('BullMQ 5 with ioredis options'));
    const scope = uniqueName('scope');
    let runsOfFive = 0;
    await five.worker(onceProcessor(async () => ++runsOfFive, { key: 'k', scope }));
    const first = await six.hold({ scope });

    const duplicate = await five.result(await five.add({}));

    expect(duplicate).to.equal(null);
    expect(await first.finish()).to.equal('worked');
    expect(first.ran).to.deep.equal([first.job.id]);
    expect(runsOfFive).to.equal(0);
    await six.close();
    await five.close();
  });
});
