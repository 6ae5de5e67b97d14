/** `dedupeFor`: a duplicate of work that was done completes, also where it would raise while the work runs. */

import type { Job } from 'bullmq';
import { expect } from 'chai';
import { type LockEvent, MemoryCache, once, onceProcessor } from '../../src/index.ts';
import { Bench, oneOfEachKind, plainJob } from '../support/bullmq.ts';

for (const setup of oneOfEachKind) {
  describe(`Deliveries of events, each twice, whose first run may fail (${setup.name})`, () => {
    it('are booked once each, and leave nothing failed (raiseIfLock: true, dedupeFor)', async () => {
      const bench = await Bench.open(setup);
      const booked: string[] = [];
      const hasFailed = new Set<string>();
      await bench.worker(
        onceProcessor(
          async ({ data: { event, isHard } }: Job<{ event: string; isHard: boolean }>) => {
            await new Promise(resolve => setTimeout(resolve, 20));
            if (isHard && !hasFailed.has(event)) {
              hasFailed.add(event);
              throw new Error('the first run fails');
            }
            booked.push(event);
          },
          { key: '{event}', raiseIfLock: true, dedupeFor: 60_000 },
        ),
        { concurrency: 10 },
      );
      const events = Array.from({ length: 20 }, (_, n) => ({ event: `event ${n}`, isHard: n % 3 === 0 }));
      const opts = { attempts: 50, backoff: 20 };
      const jobs = await bench.queue.addBulk(
        [...events, ...events].map(data => ({ name: 'job', data, opts })),
      );

      for (const job of jobs) await bench.result(job);

      expect([...booked].sort()).to.deep.equal(events.map(({ event }) => event).sort());
      expect(await bench.queue.getFailedCount()).to.equal(0);
      await bench.close();
    });
  });
}

describe('A duplicate of work that was done', () => {
  const options = { key: 'k', raiseIfLock: true, dedupeFor: 60_000 } as const;

  it('completes with no result, and its event says that it is skipped', async () => {
    const events: LockEvent[] = [];
    const guarded = onceProcessor(() => 'ran', {
      ...options,
      cache: new MemoryCache(),
      onEvent: event => events.push(event),
    });
    expect(await guarded(plainJob('1'))).to.equal('ran');

    expect(await guarded(plainJob('2'))).to.equal(undefined);

    const [skipped] = events.filter(({ type }) => type === 'skipped');
    expect(skipped).to.deep.include({ type: 'skipped', jobId: '2' });
    expect(skipped).to.have.nested.property('holder.state', 'done');
  });

  it("would be skipped, as the mode 'observe' reports it", async () => {
    const types: string[] = [];
    const cache = new MemoryCache();
    await onceProcessor(() => 'ran', { ...options, cache })(plainJob('1'));
    const observed = onceProcessor(() => 'ran', {
      ...options,
      cache,
      mode: 'observe',
      onEvent: ({ type }) => types.push(type),
    });

    expect(await observed(plainJob('2'))).to.equal('ran');
    expect(types).to.include('skipped').and.not.include('raised');
  });

  it('resolves to undefined, where it is the call of a function', async () => {
    const guarded = once(() => 'ran', { ...options, cache: new MemoryCache() });

    expect([await guarded(), await guarded()]).to.deep.equal(['ran', undefined]);
  });
});
