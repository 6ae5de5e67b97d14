/** A round finds what is wrong with locks that break their guarantees, and nothing where nothing is wrong. */

import { rmSync } from 'node:fs';
import { expect } from 'chai';
import { CASES } from './faults.ts';
import { Random } from './random.ts';
import { playRound } from './round.ts';
import { RedisStore } from './stores.ts';

describe('A round of faults', () => {
  let store: RedisStore;
  before(async () => {
    store = await RedisStore.open();
  });
  after(() => store.close());

  const play = (name: string, options?: { careless: boolean }) => {
    const found = CASES.find(({ fault }) => fault.name === name);
    if (!found) throw new Error(`there is no fault '${name}'`);
    return playRound(found.fault, store, new Random(7), 2500, options);
  };

  it('finds nothing wrong with our locks', async () => {
    const { violations, runs, injected } = await play('a worker is killed');

    expect(violations).to.deep.equal([]);
    expect(runs).to.be.above(0);
    expect(injected).to.be.above(0);
  });

  it('finds overlaps (the locks are looked up, then set, and deleted by anyone)', async () => {
    const { violations, folder } = await play('an event loop is blocked', { careless: true });
    if (folder) rmSync(folder, { recursive: true });

    expect(violations.map(text => text.split(':')[0])).to.include('exclusion');
  });
});
