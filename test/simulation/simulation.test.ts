import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'chai';
import { bundleLibrary } from './bundle.ts';
import { CHECKS } from './checks/index.ts';
import { Library } from './library.ts';
import { MUTATIONS } from './mutations.ts';
import { shrink } from './shrink.ts';
import { storyOf } from './story.ts';
import { planOf } from './workload.ts';
import { play } from './world.ts';

describe('The simulation', () => {
  let library: Library;
  before(async () => {
    library = new Library(await bundleLibrary());
  });

  it('plays the same history for the same seed, byte for byte', async () => {
    for (let seed = 1; seed <= 40; seed++) {
      const plan = planOf(seed);
      const first = storyOf(plan, await play(plan, library, { trace: true }));
      const again = storyOf(
        planOf(seed),
        await play(planOf(seed), new Library(await bundleLibrary()), { trace: true }),
      );

      expect(again).to.equal(first);
    }
  });

  it('finds no violation in the first three hundred histories', async () => {
    for (let seed = 1; seed <= 300; seed++) {
      const { violations } = await play(planOf(seed), library);

      expect(violations, `npm run test:simulation -- --seed ${seed}`).to.deep.equal([]);
    }
  });

  it('finds a library that is broken, and shows it in a few lines (the line is last in, first out)', async () => {
    const mutation = MUTATIONS.find(({ name }) => name === 'the line is last in, first out');
    const broken = new Library(await bundleLibrary(mutation));
    let seed = 1;
    while ((await play(planOf(seed), broken)).violations.length === 0) seed++;

    const plan = await shrink(planOf(seed), broken);
    const history = await play(plan, broken, { trace: true });

    expect(history.violations[0]).to.include({ guarantee: mutation?.guarantee });
    expect(plan.steps).to.have.length.below(6);
    expect(history.trace.at(-1)).to.include('handed out');
  });

  it('asks each check that there is', () => {
    const folder = fileURLToPath(new URL('checks/', import.meta.url));
    const files = readdirSync(folder).filter(name => name !== 'check.ts' && name !== 'index.ts');

    expect(CHECKS).to.have.lengthOf(files.length);
  });

  it('refuses a change of a text that is not there', async () => {
    const change = { file: 'src/cache/lock-rules.ts', find: 'nothing like it', replace: '' };

    const refused = await bundleLibrary(change).catch(error => error);

    expect(refused).to.be.instanceOf(Error).with.property('message').that.includes('0 times');
  });

  it('has a mutation for each guarantee, each of a text that is in its file once', async () => {
    for (const mutation of MUTATIONS) {
      await bundleLibrary(mutation);
    }

    const guarantees = new Set(MUTATIONS.map(({ guarantee }) => guarantee));
    expect([...guarantees].sort((a, b) => a - b)).to.deep.equal([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    expect(MUTATIONS).to.have.length.above(40);
  });
});
