/** A round, played with a guard that breaks promises: what it finds, and that it finds nothing where there is nothing. */

import { rmSync } from 'node:fs';
import { expect } from 'chai';
import { CASES } from './faults.ts';
import { Random } from './random.ts';
import { playRound } from './round.ts';
import { RedisStore } from './stores.ts';

describe('a round of faults', () => {
  let store: RedisStore;
  before(async () => {
    store = await RedisStore.open();
  });
  after(() => store.close());

  const play = (name: string, careless: boolean) => {
    const found = CASES.find(({ fault }) => fault.name === name);
    if (!found) throw new Error(`there is no fault '${name}'`);
    return playRound(found.fault, store, new Random(7), 2500, careless);
  };

  it('finds nothing where locks are ours', async () => {
    const { violations, runs, injected } = await play('a worker is killed', false);

    expect(violations).to.deep.equal([]);
    expect(runs).to.be.above(0);
    expect(injected).to.be.above(0);
  });

  it('finds what is wrong with locks that are looked up, then set, and let go of by whoever ends', async () => {
    const { violations, folder } = await play('an event loop is blocked', true);
    if (folder) rmSync(folder, { recursive: true });

    expect(violations.map(text => text.split(':')[0])).to.include('exclusion');
  });
});
