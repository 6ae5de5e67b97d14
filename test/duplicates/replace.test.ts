/** `whenLocked: 'replace'`: a newer job aborts the one that runs, and runs when that has ended. */

import type { Job } from 'bullmq';
import { expect } from 'chai';
import { type LockHandle, onceProcessor } from '../../src/index.ts';
import { Bench, oneOfEachKind, setupNamed } from '../support/bullmq.ts';
import { Child } from '../support/child.ts';
import { type Deferred, deferred, redisOptions, until } from '../support/index.ts';

interface Run {
  readonly version: number;
  endedBy?: 'abort' | 'end';
}

for (const setup of [...oneOfEachKind, setupNamed('BullMQ 6 on a Redis Cluster')]) {
  describe(`A job that is replaced (${setup.name})`, () => {
    let bench: Bench;
    let runs: Run[];
    let running: number;
    let mostAtOnce: number;
    /** Lets the runs end that nobody aborts. */
    let gate: Deferred;
    beforeEach(async () => {
      bench = await Bench.open(setup);
      [runs, running, mostAtOnce, gate] = [[], 0, 0, deferred()];
    });
    afterEach(() => {
      gate.resolve();
      return bench.close();
    });

    /** Runs until it is aborted or the gate opens. An aborted one takes a moment to stop. */
    async function run(job: Job<{ version: number }>, lock: LockHandle, onAbort: 'throw' | 'return') {
      const record: Run = { version: job.data.version };
      runs.push(record);
      mostAtOnce = Math.max(mostAtOnce, ++running);
      const { signal } = lock;
      try {
        await Promise.race([
          gate.promise,
          new Promise<void>(resolve => {
            if (signal.aborted) resolve();
            signal.addEventListener('abort', () => resolve());
          }),
        ]);
        record.endedBy = signal.aborted ? 'abort' : 'end';
        if (signal.aborted) await new Promise(resolve => setTimeout(resolve, 20));
        if (onAbort === 'throw') signal.throwIfAborted();
      } finally {
        running--;
      }
    }

    function start(onAbort: 'throw' | 'return' = 'throw', options: object = {}): Promise<unknown> {
      return bench.worker(
        onceProcessor((job: Job<{ version: number }>, _token, _signal, lock) => run(job, lock, onAbort), {
          key: 'k',
          whenLocked: 'replace',
          ...options,
        }),
        { concurrency: 5 },
      );
    }

    it('is told by its signal, fails with what it throws, and the newest runs when it has ended', async () => {
      await start();
      const first = await bench.add({ version: 1 });
      await until(() => runs.length === 1);

      const second = await bench.add({ version: 2 });
      const reason = await bench.failure(first);
      await until(() => runs.length === 2);
      gate.resolve();
      await bench.result(second);

      expect(reason).to.equal(
        "lock 'k' is lost: a newer job of its key has come, and runs when this one has ended",
      );
      expect(runs).to.deep.equal([
        { version: 1, endedBy: 'abort' },
        { version: 2, endedBy: 'end' },
      ]);
      expect(mostAtOnce).to.equal(1);
    });

    it('may complete all the same, and is not run again', async () => {
      await start('return');
      const first = await bench.add({ version: 1 });
      await until(() => runs.length === 1);
      const second = await bench.add({ version: 2 });
      await bench.result(first);
      gate.resolve();
      await bench.result(second);

      expect(runs.map(({ version }) => version)).to.deep.equal([1, 2]);
    });

    it('is skipped when it is retried: a newer one has run', async () => {
      await start();
      const first = await bench.add({ version: 1 }, { attempts: 3, backoff: 300 });
      await until(() => runs.length === 1);
      const second = await bench.add({ version: 2 });
      await until(() => runs.length === 2);
      gate.resolve();
      await bench.result(second);

      expect(await bench.result(first)).to.equal(null);
      expect(runs.map(({ version }) => version)).to.deep.equal([1, 2]);
    });

    it('reserves nothing for its retry: the newer one runs at once (holdThroughRetries)', async () => {
      await start('throw', { holdThroughRetries: true });
      await bench.add({ version: 1 }, { attempts: 3, backoff: 3_600_000 });
      await until(() => runs.length === 1);
      const second = await bench.add({ version: 2 });
      await until(() => runs.length === 2);
      gate.resolve();
      await bench.result(second);

      expect(runs.map(({ version }) => version)).to.deep.equal([1, 2]);
    });

    it('is followed by the last of fifty that come at once; no two run at once', async () => {
      await start();
      const jobs = await bench.queue.addBulk(
        Array.from({ length: 50 }, (_, version) => ({ name: 'job', data: { version } })),
      );
      await until(() => runs.at(-1)?.version === 49, 'the last one runs');
      gate.resolve();
      for (const job of jobs) await bench.ended(job);

      expect(runs.at(-1)).to.deep.equal({ version: 49, endedBy: 'end' });
      expect(mostAtOnce).to.equal(1);
    });
  });
}

describe('A job that is replaced', () => {
  it('is told within 100 ms in another process', async () => {
    const bench = await Bench.open();
    const options = { key: 'k', whenLocked: 'replace' };
    const argument = {
      connection: redisOptions(),
      queueName: bench.queueName,
      options,
      worker: { concurrency: 1 },
    };
    const holder = new Child('worker.ts', argument);
    let other: Child | undefined;
    try {
      await holder.message('ready');
      const first = await bench.add({});
      await holder.message('started', first.id);
      other = new Child('worker.ts', argument);
      await other.message('ready');

      const second = await bench.add({});
      const aborted = await holder.message('aborted', first.id);
      const parkedAt = (await bench.queue.getJob(second.id as string))?.processedOn as number;

      expect(aborted).to.include({ reason: 'replaced', code: 'ERR_LOCK_LOST' });
      expect((aborted.at as number) - parkedAt, 'ms until the signal aborted').to.be.below(100);
      holder.send({ finish: first.id });
      const started = () =>
        [holder, other as Child].some(child => child.messagesOf('started').some(one => one.id === second.id));
      await until(started, 'the second job started');
    } finally {
      await holder.kill();
      await other?.kill();
      await bench.close();
    }
  });
});
