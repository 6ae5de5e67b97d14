import { expect } from 'chai';
import { staggered } from '../../../src/cache/batching/stagger.ts';
import type { LockCache } from '../../../src/cache/contract.ts';
import { endOfTurn, nextTurn } from '../../../src/core/timers.ts';

describe('staggered', () => {
  const cacheOf = (writesByTurn: boolean) => ({ writesByTurn }) as LockCache;

  /** Lets jobs begin in this turn. @returns those that have begun, one list for each turn of the event loop. */
  async function begunInTurns(cache: LockCache, count: number): Promise<number[][]> {
    let begun: number[] = [];
    for (let i = 0; i < count; i++) {
      const wait = staggered(cache);
      if (wait) void wait.then(() => begun.push(i));
      else begun.push(i);
    }
    const turns: number[][] = [];
    await endOfTurn();
    for (let seen = 0; ; await nextTurn()) {
      seen += begun.length;
      turns.push(begun);
      begun = [];
      if (seen === count) return turns;
    }
  }

  it('lets a lone job begin at once, and few', async () => {
    const cache = cacheOf(true);
    for (const count of [1, 3]) {
      expect(await begunInTurns(cache, count)).to.deep.equal([Array.from({ length: count }, (_, i) => i)]);
    }
  });

  it('lets more begin three at a time, in order, each when those before have written', async () => {
    const turns = await begunInTurns(cacheOf(true), 10);

    expect(turns.filter(begun => begun.length > 0)).to.deep.equal([[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]);
    // What is written in a turn leaves in the next one.
    expect(turns.length).to.be.at.least(7);
  });

  it('lets all begin in this turn where they are many', async () => {
    const turns = await begunInTurns(cacheOf(true), 17);

    expect(turns).to.deep.equal([Array.from({ length: 17 }, (_, i) => i)]);
  });

  it('keeps the jobs of another cache waiting for nothing', async () => {
    const [one, other] = [cacheOf(true), cacheOf(true)];
    for (let i = 0; i < 3; i++) expect(staggered(one)).to.equal(undefined);

    expect(staggered(other)).to.equal(undefined);
    expect(staggered(one)).to.be.instanceOf(Promise);
  });

  it('lets jobs of the next turn begin at once', async () => {
    const cache = cacheOf(true);
    void begunInTurns(cache, 10);
    await nextTurn();

    expect(staggered(cache)).to.equal(undefined);
  });

  it('lets all begin at once on a client that writes each command by itself', () => {
    const cache = cacheOf(false);
    for (let i = 0; i < 10; i++) expect(staggered(cache)).to.equal(undefined);
  });
});
