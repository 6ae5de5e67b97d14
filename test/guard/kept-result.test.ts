/** The result of work that was done is kept with its key (`dedupeFor`), for its own job that runs again. */

import type { Job } from 'bullmq';
import { expect } from 'chai';
import type { ReleaseStep } from '../../src/cache/contract.ts';
import { toLockCache } from '../../src/cache/registry.ts';
import {
  type LockEvent,
  MemoryCache,
  type OnceProcessorOptions,
  once,
  onceProcessor,
} from '../../src/index.ts';
import { keptResult, MAX_RESULT_BYTES, readResult } from '../../src/lock/kept-result.ts';
import { Bench, oneOfEachKind, plainJob } from '../support/bullmq.ts';

const WINDOW = { key: 'k', dedupeFor: 60_000 } as const;
/** Which is kept under the key of the jobs of {@link plainJob}. */
const STORED_KEY = 'bull::once:1:emails:k';

for (const setup of oneOfEachKind) {
  describe(`A job that runs again after its work was done (${setup.name})`, () => {
    for (const whenLocked of ['skip', 'raise', 'in-order', 'keep-last', 'share', { delay: 10 }] as const) {
      it(`completes with its own result (whenLocked: ${JSON.stringify(whenLocked)})`, async () => {
        const bench = await Bench.open(setup);
        const guarded = onceProcessor((job: Job) => ({ charged: job.data.amount }), {
          ...WINDOW,
          whenLocked,
        });
        let runs = 0;
        await bench.worker(async (job, token) => {
          const result = await guarded(job as never, token);
          // BullMQ does not learn of the first run's end.
          if (++runs === 1) throw new Error('lost');
          return result;
        });

        const job = await bench.add({ amount: 12 }, { attempts: 2 });

        expect(await bench.result(job)).to.deep.equal({ charged: 12 });
        expect(runs).to.equal(2);
        expect(await bench.holder('k')).to.deep.include({ state: 'done', resultBytes: 14 });
        await bench.close();
      });
    }
  });
}

describe('A result that is kept', () => {
  /** What the second run of a job gets whose first run returned a value. */
  async function again(value: unknown, options: OnceProcessorOptions = {}): Promise<unknown> {
    const guarded = onceProcessor(() => value, { ...WINDOW, cache: new MemoryCache(), ...options });
    await guarded(plainJob('1', { attemptsStarted: 1 }));
    return guarded(plainJob('1', { attemptsStarted: 2 }));
  }

  it('is what BullMQ would keep of it', async () => {
    const value = { at: new Date(0), left: undefined, fn() {}, list: [undefined], text: 'ä "\0"' };

    expect(await again(value)).to.deep.equal(JSON.parse(JSON.stringify(value)));
    for (const one of [0, false, '', null]) expect(await again(one)).to.equal(one);
  });

  it('is undefined where JSON has no form for it, and the work is done all the same', async () => {
    const itself: unknown[] = [];
    itself.push(itself);

    for (const value of [undefined, () => 1, Symbol('s'), itself, 1n]) {
      expect(await again(value)).to.equal(undefined);
    }
  });

  it(`is kept up to ${MAX_RESULT_BYTES} bytes of JSON in UTF-8`, async () => {
    // The quotes are two bytes, and each ä is two.
    const largest = 'ä'.repeat(MAX_RESULT_BYTES / 2 - 1);
    const cache = new MemoryCache();

    expect(await again(largest, { cache })).to.equal(largest);
    expect((await cache.inspect([STORED_KEY]))[0]?.resultBytes).to.equal(MAX_RESULT_BYTES);
    const other = new MemoryCache();
    expect(await again(`${largest}a`, { cache: other })).to.equal(undefined);
    expect((await other.inspect([STORED_KEY]))[0])
      .to.include({ state: 'done' })
      .and.not.have.property('resultBytes');
  });

  it("goes to no other job but under 'share'", async () => {
    const cache = new MemoryCache();
    const events: LockEvent[] = [];
    const late = (whenLocked: 'skip' | 'raise' | 'share') =>
      onceProcessor(() => 'ran', { ...WINDOW, cache, whenLocked, onEvent: event => events.push(event) });
    await late('skip')(plainJob('1'));

    expect(await late('skip')(plainJob('2'))).to.equal(undefined);
    expect(await late('raise')(plainJob('3'))).to.equal(undefined);
    expect(await late('share')(plainJob('4'))).to.equal('ran');
    expect(events.slice(2).map(({ type, jobId }) => `${type} ${jobId}`)).to.deep.equal([
      'skipped 2',
      'skipped 3',
      'shared 4',
    ]);
  });

  it('is that of the work that was done last, and no older one', async () => {
    const store = new Map<string, unknown>();
    const run = (result: unknown) =>
      onceProcessor(() => result, { ...WINDOW, cache: store, whenLocked: 'share' });
    await run('first')(plainJob('1'));
    // The result stays, and another program, which keeps none, does the work after that.
    store.delete(STORED_KEY);
    const other = toLockCache(store, 'the store');
    const step = { storedKey: STORED_KEY, token: 't', owner: 'another', attempt: 0, ttl: 1000 };
    await other.acquire([step]);
    await other.release([{ ...step, dedupeFor: 60_000 }]);

    expect(await other.results?.([STORED_KEY]))
      .to.have.length(1)
      .and.not.include(undefined);
    expect(await run('second')(plainJob('2'))).to.equal(undefined);
  });

  it('costs nothing where there is no window', async () => {
    const steps: ReleaseStep[] = [];
    class Recording extends MemoryCache {
      override async release(some: readonly ReleaseStep[]): Promise<boolean[]> {
        steps.push(...some);
        return super.release(some);
      }
    }
    let reads = 0;
    const result = {
      toJSON() {
        reads++;
        return 'json';
      },
    };
    await onceProcessor(() => result, { key: 'k', cache: new Recording() })(plainJob('1'));

    expect(steps.map(step => step.result)).to.deep.equal([undefined]);
    expect(reads).to.equal(0);
  });

  it('is kept for a function too', async () => {
    const cache = new MemoryCache();
    const guarded = once(() => ({ id: 7 }), { ...WINDOW, cache });
    await guarded();

    const [text] = await cache.results(['once::1:default:k']);
    expect(readResult(text as string)).to.deep.include({ value: { id: 7 }, isKept: true });
  });

  it('is read as it was written', () => {
    const owner = 'bull:emails:"\n%3A@1';
    const texts = [{ a: [1] }, undefined, 'x'.repeat(20_000)].map(value => keptResult({ owner }, value).text);

    expect(texts.map(readResult)).to.deep.equal([
      { by: owner, value: { a: [1] }, isKept: true },
      { by: owner, value: undefined, isKept: true },
      { by: owner, value: undefined, isKept: false },
    ]);
  });
});
