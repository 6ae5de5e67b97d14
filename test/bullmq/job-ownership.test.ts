/** Which jobs BullMQ is asked about before their work begins. */

import { expect } from 'chai';
import type { RunningJob } from '../../src/bullmq/job.ts';
import { mayHaveStalled } from '../../src/bullmq/job-ownership.ts';

const LOCK_DURATION = 30_000;

/** @param processedAgo - how long ago BullMQ handed it out by the wall clock, in ms. */
function jobOf(processedAgo: number | undefined): RunningJob {
  const processedOn = processedAgo === undefined ? undefined : Date.now() - processedAgo;
  return { queue: { opts: { lockDuration: LOCK_DURATION } }, processedOn } as unknown as RunningJob;
}

describe('A job', () => {
  it('has not stalled where the guard gets it at once', () => {
    expect(mayHaveStalled(jobOf(5), performance.now())).to.equal(false);
  });

  it('may have stalled where it was handed out long ago, or the guard has had it for long', () => {
    expect(mayHaveStalled(jobOf(LOCK_DURATION), performance.now())).to.equal(true);
    expect(mayHaveStalled(jobOf(5), performance.now() - LOCK_DURATION)).to.equal(true);
  });

  it('may have stalled where the clock was set back since it was handed out', () => {
    expect(mayHaveStalled(jobOf(-3_600_000), performance.now())).to.equal(true);
  });

  it('is known only by the time since the guard got it where BullMQ does not say when it was handed out', () => {
    expect(mayHaveStalled(jobOf(undefined), performance.now())).to.equal(false);
    expect(mayHaveStalled(jobOf(undefined), performance.now() - LOCK_DURATION)).to.equal(true);
  });
});
