/**
 * Plays histories, and prints those that violate a guarantee.
 *
 *     npm run test:simulation                   100 000 histories with fresh seeds, in two processes
 *     npm run test:simulation -- --count 10000  as many
 *     npm run test:simulation -- --seed 42      one, with its trace
 */

import { parseArgs } from 'node:util';
import { bundleLibrary } from './library.ts';
import { play } from './world.ts';
import { planOf } from './workload.ts';

const { values } = parseArgs({
  options: { seed: { type: 'string' }, count: { type: 'string', default: '100000' }, from: { type: 'string' } },
});
const library = await bundleLibrary();

if (values.seed !== undefined) {
  const plan = planOf(Number(values.seed));
  console.log(JSON.stringify({ ...plan, steps: undefined }));
  const { violations, trace } = await play(plan, library, { trace: true });
  console.log(trace.join('\n'));
  console.log(violations);
} else {
  const from = Number(values.from ?? Math.floor(Math.random() * 2 ** 31));
  const count = Number(values.count);
  const startedAt = performance.now();
  let found = 0;
  for (let i = 0; i < count; i++) {
    const { violations } = await play(planOf(from + i), library);
    if (violations.length > 0) {
      found++;
      if (found <= 20) console.log(from + i, violations[0]);
    }
  }
  const seconds = (performance.now() - startedAt) / 1000;
  console.log(`${count} histories from seed ${from}: ${found} with violations; ${(count / seconds).toFixed(0)} a second`);
}
