/**
 * The strategies that park their duplicates, in random orders of arrivals, ends, failures, crashes, removals and lost promotions.
 * `LINE_RUNS=300` tries more of them. What is found is printed with its seed, as few steps as it takes, and what happened.
 */

import { setTimeout as delay } from 'node:timers/promises';
import fc from 'fast-check';
import { Bench, setupNamed } from '../support/bullmq.ts';
import { allCaches, type CacheEntry } from '../support/caches.ts';
import { type Ending, History, type Rules } from './line-history.ts';
import { WorkerPool } from './worker-pool.ts';

const RUNS = Number(process.env.LINE_RUNS ?? 10);
const WORKERS = 3;
const TTL = 250;
/** A run takes about so long, ms. */
const RUN_MS = 10_000;
/** As long fewer steps are looked for that show the same. */
const MAX_SHRINKING_MS = 120_000;

/** The caches of the jobs, and what their queue is on. */
const CACHES = {
  MemoryCache: 'BullMQ 6 with ioredis options',
  'RedisCache on ioredis': 'BullMQ 6 with ioredis options',
  'PostgresCache on a pool': 'BullMQ 6 on PostgreSQL',
};

const STRATEGIES: readonly Pick<Rules, 'whenLocked' | 'concurrency'>[] = [
  { whenLocked: 'in-order', concurrency: 1 },
  { whenLocked: 'in-order', concurrency: 2 },
  { whenLocked: 'in-order', concurrency: 3 },
  { whenLocked: 'keep-last', concurrency: 1 },
  { whenLocked: 'replace', concurrency: 1 },
];

type Command = fc.AsyncCommand<History, WorkerPool>;

function command(name: string, run: (pool: WorkerPool) => unknown): Command {
  return {
    check: () => true,
    async run(history, pool) {
      await run(pool);
      history.check();
    },
    toString: () => name,
  };
}

const endings: readonly Ending[] = ['complete', 'complete', 'fail', 'fail for good', 'delay itself'];
const added = fc.record(
  {
    created: fc.constantFrom('now', 'now', 'now', 'back', 'ahead'),
    lifo: fc.constantFrom(false, false, false, true),
    hasOwnId: fc.boolean(),
  },
  { requiredKeys: [] },
);
const worker = fc.nat(WORKERS - 1);
const fetch = worker.map(i => command(`fetch(${i})`, pool => pool.fetch(i)));
const end = fc
  .tuple(fc.nat(2), fc.constantFrom(...endings))
  .map(([i, how]) => command(`${how}(${i})`, pool => pool.endSoon(i, how)));

const commands = [
  fc.constant(command('add', pool => pool.add())),
  added.map(how => command(`add(${JSON.stringify(how)})`, pool => pool.add(how))),
  fc
    .tuple(fc.integer({ min: 2, max: 3 }), fc.boolean())
    .map(([n, hasOwnId]) =>
      command(`add ${n}${hasOwnId ? ' with own ids' : ''}`, pool => pool.add({ hasOwnId }, n)),
    ),
  fetch,
  fetch,
  fetch,
  end,
  end,
  worker.map(i => command(`crash(${i})`, pool => pool.crash(i))),
  worker.map(i => command(`losePromotions(${i})`, pool => pool.losePromotions(i))),
  fc.nat(3).map(i => command(`remove(${i})`, pool => pool.remove(i))),
  fc.nat(3).map(i => command(`promote(${i})`, pool => pool.promote(i))),
  fc.integer({ min: 1, max: 80 }).map(ms => command(`wait(${ms})`, () => delay(ms))),
];

for (const [cacheName, setup] of Object.entries(CACHES)) {
  describe(`The jobs of one key, in any order of events (${cacheName}, ${setup})`, () => {
    for (const { whenLocked, concurrency } of STRATEGIES) {
      const places = concurrency === 1 ? '' : `, ${concurrency} at once`;
      it(`keep the guarantees of '${whenLocked}'${places}`, async function () {
        this.timeout(60_000 + RUNS * RUN_MS + MAX_SHRINKING_MS);
        const entry = allCaches.find(({ name }) => name === cacheName) as CacheEntry;
        const { cache, close } = await entry.create();
        const startedAt = performance.now();
        let failedAt = Number.POSITIVE_INFINITY;

        const property = fc.asyncProperty(
          fc.boolean(),
          fc.commands(commands, { maxCommands: 50, size: 'max' }),
          fc.array(fc.nat(12), { minLength: 1, maxLength: 20 }),
          async (holdThroughRetries, steps, pauses) => {
            // Then no more are tried.
            if (performance.now() - failedAt > MAX_SHRINKING_MS) return;
            const bench = await Bench.open(setupNamed(setup));
            const listsInOrder = !setup.includes('PostgreSQL');
            const rules = { whenLocked, concurrency, holdThroughRetries, ttl: TTL, listsInOrder };
            const history = new History(rules);
            const pool = new WorkerPool(bench, cache, pauses, history);
            try {
              for (let i = 0; i < WORKERS; i++) await pool.open();
              await pool.add();
              await fc.asyncModelRun(() => ({ model: history, real: pool }), steps);
              await pool.settle();
            } catch (error) {
              failedAt = Math.min(failedAt, performance.now());
              throw error;
            } finally {
              await bench.close();
            }
          },
        );
        await fc.assert(property, { numRuns: RUNS, includeErrorInReport: true });
        await close?.();
        if (process.env.LINE_RUNS) console.log(`${RUNS} runs in ${performance.now() - startedAt} ms`);
      });
    }
  });
}
