/** `match`: a job with the same key and other data is no duplicate, and fails. */

import type { Job } from 'bullmq';
import { expect } from 'chai';
import {
  type LockEvent,
  MemoryCache,
  MismatchError,
  type OnceProcessorOptions,
  once,
  onceProcessor,
} from '../../src/index.ts';
import { Bench, oneOfEachKind, plainJob, setupNamed } from '../support/bullmq.ts';
import { deferred, rejection, until } from '../support/index.ts';

const PAYMENT = { key: 'payment-{id}', match: '{amount}-{currency}' } as const;
const STRATEGIES = [
  ...(['skip', 'raise', 'in-order', 'keep-last', 'replace', 'share'] as const),
  { delay: 50 },
  { waitFor: 60_000 },
  () => 'handled',
] as const;

const named = (whenLocked: unknown) =>
  typeof whenLocked === 'function' ? 'a function' : JSON.stringify(whenLocked);

for (const setup of [...oneOfEachKind, setupNamed('BullMQ 6 on a Redis Cluster')]) {
  describe(`A job with the key of another and other data (${setup.name})`, () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open(setup);
    });
    afterEach(() => bench.close());

    for (const whenLocked of STRATEGIES) {
      it(`fails at once while the work runs, with attempts left (${named(whenLocked)})`, async () => {
        const first = await bench.hold({ ...PAYMENT, whenLocked } as OnceProcessorOptions, {
          data: { id: 7, amount: 10, currency: 'EUR' },
        });

        const other = await bench.add({ id: 7, amount: 11, currency: 'EUR' }, { attempts: 5 });

        const message = await bench.failure(other);
        expect(message).to.include(`lock 'payment-7' is held by job ${first.job.id} of ${bench.queueName}`);
        expect(message).to.match(/, for other data: 'match' differs$/);
        expect((await bench.queue.getJob(other.id as string))?.attemptsMade).to.equal(1);
        const asked = [{ storedKey: bench.storedName('payment-7'), owner: '' }];
        expect((await bench.cache.lines?.(asked))?.[0]).to.include({ held: 1, parked: 0 });
        await first.finish();
        expect(first.ran).to.deep.equal([first.job.id]);
      });

      it(`fails within the window when the work was done (${named(whenLocked)})`, async () => {
        const options = { ...PAYMENT, whenLocked, dedupeFor: 60_000 } as OnceProcessorOptions;
        await bench.worker(onceProcessor(() => 'paid', options) as never);
        const first = await bench.add({ id: 7, amount: 10, currency: 'EUR' });
        await bench.result(first);

        const other = await bench.add({ id: 7, amount: 10, currency: 'USD' }, { attempts: 5 });

        expect(await bench.failure(other)).to.match(
          /^lock 'payment-7' was done by job \S+ of \S+ and stays held for another .*, for other data/,
        );
      });
    }

    it('is one with equal data otherwise: that is a duplicate', async () => {
      const first = await bench.hold(PAYMENT, { data: { id: 7, amount: 10, currency: 'EUR', at: 1 } });

      const duplicate = await bench.add({ currency: 'EUR', amount: 10, id: 7, at: 2 });

      expect(await bench.result(duplicate)).to.be.oneOf([undefined, null]);
      await first.finish();
    });

    it('does not keep a job from its own lease: its data may change between its runs', async () => {
      let runs = 0;
      const guarded = onceProcessor(
        async (job: Job) => {
          if (++runs > 1) return 'worked';
          await job.updateData({ ...job.data, amount: 99 });
          throw new Error('once more');
        },
        { ...PAYMENT, holdThroughRetries: true },
      );
      await bench.worker(guarded as never);

      const job = await bench.add({ id: 7, amount: 10, currency: 'EUR' }, { attempts: 2 });

      expect(await bench.result(job)).to.equal('worked');
    });

    it('fails also where the other only reserves its key', async () => {
      const guarded = onceProcessor(
        () => {
          throw new Error('always');
        },
        { ...PAYMENT, holdThroughRetries: true },
      );
      await bench.worker(guarded as never, { concurrency: 2 });
      await bench.add({ id: 7, amount: 10, currency: 'EUR' }, { attempts: 2, backoff: 60_000 });
      await until(async () => (await bench.holder('payment-7'))?.state === 'reserved');

      const other = await bench.add({ id: 7, amount: 11, currency: 'EUR' }, { attempts: 5 });

      expect(await bench.failure(other)).to.match(/^lock 'payment-7' is reserved by .*, for other data/);
    });
  });
}

describe('The option match', () => {
  const run = (options: object, data: object, id = '1') =>
    onceProcessor(() => 'ran', options as OnceProcessorOptions)(plainJob(id, { data, attemptsStarted: 1 }));
  const inWindow = (match: unknown, cache = new MemoryCache()) => ({
    key: 'k',
    match,
    cache,
    dedupeFor: 60_000,
  });

  it('fails a job with an error that says which key and who holds it', async () => {
    const events: LockEvent[] = [];
    const options = { ...inWindow('{n}'), onEvent: (event: LockEvent) => events.push(event) };
    await run(options, { n: 1 });

    const error = await rejection(run(options, { n: 2 }, '2'));

    expect(error).to.be.instanceOf(MismatchError).and.include({ code: 'ERR_LOCK_MISMATCH', key: 'k' });
    expect(error.holder).to.include({ state: 'done', jobId: '1' });
    // BullMQ takes it by this name for an error that is not to be retried.
    expect(error.name).to.equal('UnrecoverableError');
    expect(events.at(-1)).to.include({ type: 'mismatched', jobId: '2', observed: false });
  });

  it('may be a function of the job', async () => {
    const options = inWindow((job: Job) => `${job.data.amount}`);
    await run(options, { amount: 10, at: 1 });

    expect(await run(options, { amount: 10, at: 2 }, '2')).to.equal(undefined);
    expect(await rejection(run(options, { amount: 12 }, '3'))).to.include({ code: 'ERR_LOCK_MISMATCH' });
  });

  it('tells values of different types apart, as a key does', async () => {
    const options = inWindow('{n}');
    await run(options, { n: 1 });

    expect(await rejection(run(options, { n: '1' }, '2'))).to.include({ code: 'ERR_LOCK_MISMATCH' });
  });

  it('is matched by a holder that has none, and by a job that has none', async () => {
    const cache = new MemoryCache();
    await run(inWindow(undefined, cache), { n: 1 });
    expect(await run(inWindow('{n}', cache), { n: 2 }, '2')).to.equal(undefined);

    const other = new MemoryCache();
    await run(inWindow('{n}', other), { n: 1 });
    expect(await run(inWindow(undefined, other), { n: 2 }, '2')).to.equal(undefined);
  });

  it('keeps a short hash in the record, and none of the data', async () => {
    const options = inWindow('{secret}');
    await run(options, { secret: 'hunter2' });

    const [record] = await options.cache.inspect(['bull::once:1:emails:k']);
    expect(record?.match).to.match(/^[\w-]{22}$/);
    expect(JSON.stringify(record)).to.not.include('hunter2');
  });

  it('throws a KeyError where the data lack a placeholder, or the function gives no string', async () => {
    const missing = await rejection(run({ ...inWindow('{amount}'), key: 'k' }, { sum: 1 }));
    expect(missing).to.include({
      code: 'ERR_LOCK_KEY',
      message: "option 'match' '{amount}': the job's data has no 'amount' (it has: sum)",
      placeholder: 'amount',
    });

    for (const [fn, problem] of [
      [() => undefined, 'must be a string, not undefined'],
      [() => null, 'must be a string, not null'],
      [
        () => {
          throw new Error('oops');
        },
        'could not be built: the function threw Error: oops',
      ],
    ] as const) {
      const error = await rejection(run(inWindow(fn), {}));
      expect(error).to.include({
        code: 'ERR_LOCK_KEY',
        message: `onceProcessor: the option 'match' ${problem}`,
      });
    }
  });

  it('throws a TypeError where it is written if it is no template and no function', () => {
    expect(() => onceProcessor(() => {}, { match: 5 } as never)).to.throw(
      TypeError,
      "onceProcessor: option 'match' must be a template such as '{amount}-{currency}', or a function of the job, not 5",
    );
    expect(() => onceProcessor(() => {}, { match: '{a' })).to.throw(
      TypeError,
      "option 'match' '{a': the '{' at 0 is never closed; write '{{' for a brace",
    );
    expect(() => once(() => {}, { key: 'k', match: null } as never)).to.throw(
      TypeError,
      "once: option 'match' must be a template such as '{amount}', or a function, not null",
    );
  });

  it("runs the job in the mode 'observe', and reports what would have become of it", async () => {
    const events: LockEvent[] = [];
    const cache = new MemoryCache();
    await run(inWindow('{n}', cache), { n: 1 });
    const observed = {
      ...inWindow('{n}', cache),
      mode: 'observe',
      onEvent: (event: LockEvent) => events.push(event),
    };

    expect(await run(observed, { n: 2 }, '2')).to.equal('ran');
    expect(events.map(({ type }) => type)).to.deep.equal(['mismatched']);
    expect(events[0]).to.include({ observed: true });
  });

  it("keeps a parked job from the result of other data that a newcomer's work has (whenLocked: 'share')", async () => {
    const gates = [deferred(), deferred()];
    let runs = 0;
    const guarded = onceProcessor(
      async (job: Job) => {
        await gates[runs++]?.promise;
        return job.data.n;
      },
      { key: 'k', match: '{n}', whenLocked: 'share', cache: new MemoryCache() },
    );
    const come = (id: string, n: number, attemptsStarted = 1) =>
      guarded(plainJob(id, { data: { n }, attemptsStarted, moveToDelayed: async () => {} }));
    const end = async (run: Promise<unknown>, nth: number) => {
      gates[nth]?.resolve();
      expect(await run).to.not.equal(undefined);
    };
    const five = come('1', 5);
    await until(() => runs === 1);
    expect(await rejection(come('2', 5))).to.include({ name: 'DelayedError' });
    await end(five, 0);
    const seven = come('3', 7);
    await until(() => runs === 2);
    expect(await rejection(come('4', 7))).to.include({ name: 'DelayedError' });
    await end(seven, 1);

    expect(await come('4', 7, 2)).to.equal(7);
    expect(runs).to.equal(2);
    expect(await come('2', 5, 2)).to.equal(5);
    expect(runs).to.equal(3);
  });

  for (const whenLocked of ['skip', 'share', { waitFor: 60_000 }] as const) {
    it(`is an option of once (${JSON.stringify(whenLocked)})`, async () => {
      const gate = deferred();
      const guarded = once(
        async (payment: { id: number; amount: number }) => {
          await gate.promise;
          return payment.amount;
        },
        { key: '{id}', match: '{amount}', whenLocked, cache: new MemoryCache() },
      );
      const first = guarded({ id: 1, amount: 5 });
      const waiting = guarded({ id: 1, amount: 5 });

      expect(await rejection(guarded({ id: 1, amount: 6 }))).to.include({
        code: 'ERR_LOCK_MISMATCH',
        key: '1',
      });

      gate.resolve();
      expect(await first).to.equal(5);
      expect(await waiting).to.equal(whenLocked === 'skip' ? undefined : 5);
    });
  }

  it('is not compared with a holder that was found before the job came', async () => {
    const cache = new MemoryCache();
    const acquire = cache.acquire.bind(cache);
    const [asked, answers] = [deferred(), deferred()];
    let isHeldUp = false;
    cache.acquire = async steps => {
      const results = await acquire(steps);
      if (!isHeldUp) return results;
      asked.resolve();
      await answers.promise;
      return results;
    };
    const end = deferred();
    const guarded = once(
      async (_id: string, amount: number) => {
        if (amount === 5) await end.promise;
        return amount;
      },
      { key: '{0}', match: '{1}', whenLocked: { waitFor: 60_000 }, cache },
    );
    const first = guarded('a', 5);
    await until(async () => (await cache.inspect(['once::1:default:a']))[0] !== undefined, 'the first runs');
    isHeldUp = true;
    const waiting = guarded('a', 5);
    await asked.promise;
    isHeldUp = false;
    end.resolve();
    await first;
    const other = guarded('a', 6);
    answers.resolve();

    expect(await other).to.equal(6);
    expect(await waiting).to.equal(5);
  });

  it('costs nobody its turn among those who wait', async () => {
    const cache = new MemoryCache();
    const answers = deferred();
    const inspect = cache.inspect.bind(cache);
    let asked = 0;
    cache.inspect = async storedKeys => {
      if (asked++ === 0) await answers.promise;
      return inspect(storedKeys);
    };
    const ran: number[] = [];
    const gates = [deferred(), deferred(), deferred(), deferred()];
    const guarded = once(
      async (_id: string, n: number) => {
        ran.push(n);
        await gates[n]?.promise;
      },
      { key: '{0}', match: () => 'equal', whenLocked: { waitFor: 60_000 }, cache },
    );
    const calls = [0, 1, 2, 3].map(n => guarded('a', n));
    await until(() => asked >= 2, 'both that stand behind another have asked who holds the key');

    for (const [n, gate] of gates.entries()) {
      gate.resolve();
      await calls[n];
    }

    expect(ran).to.deep.equal([0, 1, 2, 3]);
    answers.resolve();
  });

  it('may look into all arguments of a call', async () => {
    const options = { key: '{0}', match: '{1}', dedupeFor: 60_000, cache: new MemoryCache() };
    const guarded = once((_id: string, amount: number) => amount, options);
    await guarded('a', 1);

    expect(await guarded('a', 1)).to.equal(undefined);
    expect(await rejection(guarded('a', 2))).to.include({ code: 'ERR_LOCK_MISMATCH' });
  });
});
