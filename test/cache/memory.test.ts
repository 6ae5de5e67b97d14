/** What the memory cache leaves in the memory of the process. */

import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect } from 'chai';
import { MemoryCache } from '../../src/index.ts';
import { until } from '../support/index.ts';
import { enterStep } from '../support/steps.ts';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

const CHARACTERS = 1_000_000;

describe('The memory cache', () => {
  it('forgets results that have expired, though it has few keys', async () => {
    const cache = new MemoryCache();
    const names = Array.from({ length: 50 }, (_, n) => `k${n}`);
    collectGarbage();
    const before = process.memoryUsage().heapUsed;

    for (const storedKey of names) {
      const step = enterStep({ storedKey, line: 'together', ttl: 10 });
      await cache.enter([step]);
      await cache.enter([enterStep({ storedKey, line: 'together' })]);
      const result = { text: Buffer.alloc(CHARACTERS, storedKey).toString('latin1'), bytes: CHARACTERS };
      await cache.leave([{ ...step, dedupeFor: 0, rememberFor: 1, result }]);
      await until(async () => (await cache.results([storedKey]))[0] === undefined);
    }

    collectGarbage();
    expect(process.memoryUsage().heapUsed - before).to.be.below(10 * CHARACTERS);
  });
});
