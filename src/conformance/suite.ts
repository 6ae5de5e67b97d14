/**
 * bullmq-once/conformance: what every cache must do, as a suite of tests for the author of a cache. It runs under mocha,
 * vitest, jest and node:test.
 */

import { testAcquiring } from './acquiring.ts';
import { testBatches } from './batches.ts';
import { type CacheUnderTest, type CreatedCache, need, type TestRunner } from './cache-under-test.ts';
import { testFences } from './fences.ts';
import { testForeignValues } from './foreign-values.ts';
import { GUARANTEES, type GuaranteeName } from './guarantees.ts';
import { type DefineTest, TEST_TIMEOUT_MS } from './helpers.ts';
import { testKeys } from './keys.ts';
import { testLeases } from './leases.ts';
import { testLine, testNewest, testPlaces } from './lines.ts';
import { testOperators } from './operators.ts';
import { testOutages } from './outages.ts';
import { testReleasing } from './releasing.ts';
import { testReserving } from './reserving.ts';
import { testMatching, testResults, testSharing } from './results.ts';
import { testRivals } from './rivals.ts';

export { type CacheUnderTest, type CreatedCache, GUARANTEES, type GuaranteeName, type TestRunner };

/** The subjects of the suite, as the report names them. */
const TOPICS: { readonly [subject: string]: (test: DefineTest) => void } = {
  acquiring: testAcquiring,
  'a lease': testLeases,
  releasing: testReleasing,
  reserving: testReserving,
  fences: testFences,
  'a batch': testBatches,
  keys: testKeys,
  rivals: testRivals,
  'a foreign value': testForeignValues,
  'an outage': testOutages,
  operators: testOperators,
  'several places': testPlaces,
  'a line': testLine,
  'room for the newest': testNewest,
  'a result': testResults,
  'a shared result': testSharing,
  'other data': testMatching,
};

/**
 * Defines the tests of a cache.
 *
 * @throws TypeError there is no such guarantee, or no test runner.
 * @example
 * ```ts
 * testLockCache({
 *   name: 'MyCache',
 *   create: () => ({ cache: new MyCache(url), other: new MyCache(url) }),
 *   guarantees: { foreignValues: false, outages: false },
 * });
 * ```
 */
export function testLockCache({
  name,
  create,
  guarantees = {},
  runner = globalThis as unknown as TestRunner,
}: CacheUnderTest): void {
  checkGuarantees(guarantees);
  const { describe, it, after } = parseRunner(runner);

  describe(name, () => {
    let creating: Promise<CreatedCache> | undefined;
    after(async () => {
      await (await creating)?.close?.();
    });

    const test: DefineTest = (guarantee, title, run) => {
      if (guarantees[guarantee] === false) {
        // biome-ignore lint/suspicious/noSkippedTests: the report shows as skipped what a cache does not guarantee
        it.skip(`${title} (not guaranteed: ${guarantee})`, async () => {});
        return;
      }
      async function runOnCaches(): Promise<void> {
        creating ??= Promise.resolve(create());
        const created = await creating;
        const { cache } = created;
        if (guarantees.acrossInstances === false) return run({ cache, other: cache, created, create });
        need(created, 'other', 'acrossInstances');
        return run({ cache, other: created.other, created, create });
      }
      const defined = it(title, runOnCaches, TEST_TIMEOUT_MS);
      // Mocha takes no third argument.
      if (typeof defined?.timeout === 'function') defined.timeout(TEST_TIMEOUT_MS);
    };
    for (const [subject, define] of Object.entries(TOPICS)) describe(subject, () => define(test));
  });
}

function checkGuarantees(guarantees: object): void {
  const unknown = Object.keys(guarantees).find(name => !Object.hasOwn(GUARANTEES, name));
  if (unknown === undefined) return;
  const known = Object.keys(GUARANTEES).join(', ');
  throw new TypeError(`testLockCache: there is no guarantee '${unknown}'; there are: ${known}`);
}

function parseRunner(runner: Partial<TestRunner>): Required<Pick<TestRunner, 'describe' | 'it' | 'after'>> {
  const { describe, it, afterAll, after = afterAll } = runner;
  if (describe && it?.skip && after) return { describe, it, after };
  throw new TypeError(
    "testLockCache: there is no test runner; run it under mocha, or pass one: import * as runner from 'node:test'",
  );
}
