/** Durations that are longer than any timer: 2^31 ms are 24.8 days. A timer that is given more fires at once, again and again. */

import { expect } from 'chai';
import sinon from 'sinon';
import { timerDelay } from '../../src/core/timers.ts';
import { type Cache, Lock, type LockCache, onceProcessor } from '../../src/index.ts';
import { Bench, oneOfEachKind } from '../support/bullmq.ts';
import { deferred, uniqueName, until } from '../support/index.ts';
import { stores } from '../support/stores.ts';

const LONGEST = 2 ** 31 - 1;
const LONG = [2 ** 31, 3 * 2 ** 31, Number.MAX_SAFE_INTEGER];
/** How long each test looks at what asks too often. */
const LOOK_MS = 500;
/** How often anything asks in that time that has nothing to ask. A timer that overflows asks hundreds of times. */
const FEW = 15;

describe('timerDelay', () => {
  it('is a whole number that a timer can take, for every duration', () => {
    const durations = [-1, 0, 0.2, 1, 1.5, LONGEST - 1, LONGEST, ...LONG, Number.POSITIVE_INFINITY];

    expect(durations.map(timerDelay)).to.deep.equal([
      ...[0, 0, 1, 1, 2, LONGEST - 1, LONGEST],
      ...LONG.map(() => LONGEST),
      LONGEST,
    ]);
  });
});

/** A cache that counts the calls of its methods. */
function counted(cache: LockCache): { cache: LockCache; calls: () => number } {
  let calls = 0;
  const counting = new Proxy(cache, {
    get(target, name) {
      const value = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]) => {
        calls++;
        return value.apply(target, args);
      };
    },
  });
  return { cache: counting, calls: () => calls };
}

/** The delays that no timer can take, of all timers that are set while something runs. */
async function overflowsDuring(run: () => Promise<unknown>): Promise<unknown[]> {
  const spies = [sinon.spy(globalThis, 'setTimeout'), sinon.spy(globalThis, 'setInterval')];
  const warnings: string[] = [];
  const onWarning = ({ name }: Error) => warnings.push(name);
  process.on('warning', onWarning);
  try {
    await run();
    // Timers of `node:timers/promises` can't be spied on. Node warns of them.
    await pause(1);
    const delays = spies.flatMap(spy => spy.getCalls().map(call => call.args[1] as unknown));
    const overflows = delays.filter(delay => typeof delay === 'number' && !(delay <= LONGEST));
    return [...overflows, ...warnings.filter(name => name === 'TimeoutOverflowWarning')];
  } finally {
    process.off('warning', onWarning);
    for (const spy of spies) spy.restore();
  }
}

const pause = (ms: number) => new Promise(resolve => setTimeout(resolve, ms));

for (const [where, open] of Object.entries(stores)) {
  for (const ms of LONG) {
    describe(`A lock ${where} with a ttl of ${ms} ms`, () => {
      let cache: Cache;
      let calls: () => number;
      let close: () => unknown;
      beforeEach(async () => {
        const opened = await open();
        close = opened.close;
        ({ cache, calls } = counted(opened.cache));
      });
      afterEach(() => close());

      it('is held, and neither it nor who waits for it asks too often', async () => {
        const lock = new Lock(uniqueName('k'), { cache, ttl: ms });
        let asked = 0;
        const overflows = await overflowsDuring(async () => {
          const handle = await lock.acquire();
          const waiting = lock.acquire({ waitFor: ms });
          await pause(100);
          const before = calls();
          await pause(LOOK_MS);
          asked = calls() - before;
          expect(handle.held).to.equal(true);
          expect(await handle.release()).to.equal(true);
          const next = await waiting;
          expect(next.held).to.equal(true);
          await next.release();
        });

        expect(asked).to.be.below(FEW);
        expect(overflows).to.deep.equal([]);
      });

      it('stays held as done for as long, and its maxHold is as long', async () => {
        const lock = new Lock(uniqueName('k'), { cache, ttl: ms, maxHold: ms, dedupeFor: ms });
        let wasHeld = false;

        const overflows = await overflowsDuring(() =>
          lock.run(async handle => {
            await pause(50);
            wasHeld = handle.held;
          }),
        );
        const error = await lock.run(() => {}).catch(reason => reason);

        expect(wasHeld).to.equal(true);
        expect(overflows).to.deep.equal([]);
        expect(error).to.include({ code: 'ERR_LOCK_HELD' });
        expect(error.holder.state).to.equal('done');
        expect(error.holder.expiresIn).to.be.above(2 ** 30);
      });
    });
  }
}

for (const setup of oneOfEachKind) {
  for (const ms of LONG.slice(0, 2)) {
    describe(`Jobs whose ttl is ${ms} ms (${setup.name})`, () => {
      let bench: Bench;
      beforeEach(async () => {
        bench = await Bench.open(setup);
      });
      afterEach(() => bench.close());

      for (const whenLocked of ['keep-last', { waitFor: ms }, { delay: ms }, { delay: 'holder' }] as const) {
        it(`neither fail nor start too often (whenLocked: ${JSON.stringify(whenLocked)})`, async () => {
          const gate = deferred();
          const failures: string[] = [];
          let starts = 0;
          const guarded = onceProcessor(() => gate.promise, { key: 'k', ttl: ms, whenLocked });
          const processor = (job: any, token?: string, signal?: AbortSignal) => {
            starts++;
            return guarded(job, token, signal);
          };
          const worker = await bench.worker(processor, { concurrency: 12 });
          worker.on('failed', (_job, error) => failures.push(error.message));
          const first = await bench.add({});
          await until(() => starts === 1);
          const others = await bench.queue.addBulk(
            Array.from({ length: 10 }, () => ({ name: 'job', data: {} })),
          );
          await until(() => starts >= 11);

          const before = starts;
          const overflows = await overflowsDuring(() => pause(LOOK_MS));
          const startsMeanwhile = starts - before;
          gate.resolve();
          await bench.result(first);
          const isDelayed = typeof whenLocked === 'object' && 'delay' in whenLocked;
          const states = isDelayed ? ['delayed'] : ['completed', 'failed'];
          await Promise.all(others.map(job => bench.reaches(job, ...states)));

          expect(failures).to.deep.equal([]);
          expect(startsMeanwhile).to.be.below(FEW);
          expect(overflows).to.deep.equal([]);
        });
      }
    });
  }
}
