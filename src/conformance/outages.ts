/** Tests of outages: what a cache answers while its store is unreachable. */

import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { need } from './cache-under-test.ts';
import { acquire, acquireStep, type DefineTest, releaseStep, renewStep } from './helpers.ts';

export function testOutages(test: DefineTest): void {
  test(
    'outages',
    'a cache whose store is unreachable gives an error or no answer, never a yes or a no',
    async ({ create }) => {
      const created = await create();
      const { cache } = created;
      try {
        const held = acquireStep();
        const { storedKey } = held;
        assert.equal((await acquire(cache, held)).acquired, true);
        need(created, 'outage', 'outages');
        await created.outage();

        const outcomes = {
          'an acquisition': outcomeOf(cache.acquire([acquireStep({ storedKey }), acquireStep()])),
          'a renewal': outcomeOf(cache.renew([renewStep(held)])),
          'a release': outcomeOf(cache.release([releaseStep(held)])),
          'an inspection': outcomeOf(cache.inspect([storedKey])),
        };
        for (const [what, outcome] of Object.entries(outcomes)) {
          const answers = await Promise.race([outcome, delay(1000, [])]);
          const wrong = answers.filter(answer => !(answer instanceof Error));
          assert.deepEqual(wrong, [], `${what} was answered`);
        }
      } finally {
        await created.close?.();
      }
    },
  );
}

/** The answers to a request, or the one error of all. Errors are caught at once: a test may await them late. */
function outcomeOf<Answer>(request: Promise<readonly Answer[]>): Promise<readonly (Answer | Error)[]> {
  return request.catch((error: Error) => [error]);
}
