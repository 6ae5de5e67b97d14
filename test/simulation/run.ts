/**
 * Plays histories, and prints those that violate a guarantee.
 *
 *     npm run test:simulation                   100 000 histories with fresh seeds, in two processes
 *     npm run test:simulation -- --count 10000  as many
 *     npm run test:simulation -- --from 1       with the seeds from 1 on
 *     npm run test:simulation -- --seed 42      one, with its trace
 */

import { parseArgs } from 'node:util';
import { bundleLibrary } from './bundle.ts';
import { Library } from './library.ts';
import { playMany } from './players.ts';
import { shrink } from './shrink.ts';
import { storyOf } from './story.ts';
import { planOf } from './workload.ts';
import { play } from './world.ts';

/** As many violations are shrunken and printed in full. */
const MAX_STORIES = 3;
const MAX_SEEDS = 30;

const { values } = parseArgs({
  options: {
    seed: { type: 'string' },
    count: { type: 'string', default: '100000' },
    from: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
    processes: { type: 'string', default: '2' },
  },
});
const texts = await bundleLibrary();
const library = new Library(texts);
const seeds: number[] = [];

if (values.seed === undefined) await runMany(numberFrom('count'), numberFrom('from'));
else await runOne(numberFrom('seed'));

async function runOne(seed: number): Promise<void> {
  const plan = planOf(seed);
  const history = await play(plan, library, { trace: true });
  console.log(storyOf(plan, history));
  if (history.violations.length === 0) return;
  const smallest = await shrink(plan, library);
  console.log(
    `\nThe same with as few steps as it takes:\n${storyOf(smallest, await play(smallest, library, { trace: true }))}`,
  );
  process.exitCode = 1;
}

async function runMany(count: number, from: number): Promise<void> {
  console.log(`${count} histories, with the seeds from ${from} on`);
  let violations = 0;
  let stories = 0;
  const { played, ms } = await playMany(
    texts,
    { from, count },
    {
      processes: numberFrom('processes'),
      onFound({ seed, violations: [first] }) {
        violations++;
        if (violations <= MAX_SEEDS)
          console.log(`seed ${seed}: guarantee ${first?.guarantee}: ${first?.message}`);
        if (++stories > MAX_STORIES) return;
        seeds.push(seed);
      },
    },
  );
  for (const seed of seeds) await runOne(seed);
  console.log(
    `${played} histories, ${violations} violations, ${((played / ms) * 1000).toFixed(0)} histories a second of a core`,
  );
  if (violations > 0) process.exitCode = 1;
}

function numberFrom(name: 'seed' | 'count' | 'from' | 'processes'): number {
  const value = Number(values[name]);
  if (!Number.isSafeInteger(value))
    throw new TypeError(`--${name} must be a whole number, not '${values[name]}'`);
  return value;
}
