/** The mode `'observe'`: all work runs, and what would have become of it is emitted. */

import type { Job } from 'bullmq';
import { expect } from 'chai';
import { type LockEvent, MemoryCache, type OnceProcessorOptions, onceProcessor } from '../../src/index.ts';
import { plainJob } from '../support/bullmq.ts';
import { deferred, rejection, until } from '../support/index.ts';

describe('A job that is only observed, and of which no key can be built,', () => {
  it("runs without a lock, and emits 'key-error'", async () => {
    const events: LockEvent[] = [];
    const guarded = onceProcessor(
      async (_job: Job, _token, signal, lock) => [lock.key, lock.held, lock.fence, signal?.aborted],
      { key: 'k-{id}', mode: 'observe', cache: new MemoryCache(), onEvent: event => events.push(event) },
    );

    const result = await guarded(plainJob('17'));

    expect(result).to.deep.equal(['', false, 0, false]);
    expect(events).to.have.length(1);
    expect(events[0]).to.include({ type: 'key-error', key: '', jobId: '17', queueName: 'emails' });
    expect(events[0]).to.have.nested.property('error.code', 'ERR_LOCK_KEY');
    expect(events[0])
      .to.have.nested.property('error.message')
      .that.matches(/has no 'id'/);
  });

  it("fails and emits nothing if the mode is 'enforce'", async () => {
    const events: LockEvent[] = [];
    const guarded = onceProcessor(async () => 'ran', {
      key: 'k-{id}',
      mode: 'enforce',
      cache: new MemoryCache(),
      onEvent: event => events.push(event),
    });

    expect(await rejection(guarded(plainJob('17')))).to.include({ code: 'ERR_LOCK_KEY' });
    expect(events).to.deep.equal([]);
  });
});

describe('A duplicate that is only observed', () => {
  it('does not wait for its key, however long it would have waited', async () => {
    const gate = deferred();
    const guarded = onceProcessor(
      async (job: Job) => {
        if (job.id === '1') await gate.promise;
        return `ran ${job.id}`;
      },
      { key: 'k', mode: 'observe', cache: new MemoryCache(), whenLocked: { waitFor: 60_000 } },
    );
    const first = guarded(plainJob('1'));

    expect(await guarded(plainJob('2'))).to.equal('ran 2');

    gate.resolve();
    await first;
  });

  const forms: [OnceProcessorOptions['whenLocked'], string][] = [
    ['skip', 'skipped'],
    ['raise', 'raised'],
    [{ waitFor: 20 }, 'skipped'],
    [{ delay: 60_000 }, 'delayed'],
    ['keep-last', 'parked'],
    ['share', 'shared'],
    [() => 'handled', 'handled'],
  ];
  for (const [whenLocked, outcome] of forms) {
    const shown = typeof whenLocked === 'function' ? 'a function' : JSON.stringify(whenLocked);
    it(`runs at once, and emits '${outcome}' (${shown})`, async () => {
      const gate = deferred();
      const events: LockEvent[] = [];
      const guarded = onceProcessor(
        async (job: Job) => {
          if (job.id === '1') await gate.promise;
          return `ran ${job.id}`;
        },
        {
          key: 'k',
          mode: 'observe',
          cache: new MemoryCache(),
          whenLocked: whenLocked as 'skip',
          onEvent: event => events.push(event),
        },
      );
      const first = guarded(plainJob('1'));

      const second = await guarded(plainJob('2'));
      await until(() => events.some(({ type }) => type === outcome));
      gate.resolve();

      expect([await first, second]).to.deep.equal(['ran 1', 'ran 2']);
      await until(() => events.some(({ type }) => type === 'released'));
      expect(events.map(({ type }) => type)).to.deep.equal(['acquired', outcome, 'released']);
      expect(events[1]).to.include({ key: 'k', jobId: '2', observed: true });
    });
  }
});
