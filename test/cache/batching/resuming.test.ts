import { expect } from 'chai';
import { resumeInGroups, resumeInThisTurn } from '../../../src/cache/batching/resuming.ts';
import { nextTurn } from '../../support/index.ts';

/** What a cache holds back is written after some promise callbacks. */
async function held(): Promise<void> {
  for (let round = 0; round < 10; round++) await undefined;
}

describe('resumeInGroups', () => {
  /** How many of some items have continued at once, and by the end of each turn of the event loop after that. */
  async function resumedInTurns(count: number): Promise<number[]> {
    const items = Array.from({ length: count }, (_, i) => i);
    const resumed: number[] = [];
    resumeInGroups(items, item => resumed.push(item), held);
    const counts = [resumed.length];
    while (resumed.length < count) {
      await nextTurn();
      counts.push(resumed.length);
    }
    expect(resumed).to.deep.equal(items);
    return counts;
  }

  it('lets a lone one continue at once', () => {
    const resumed: string[] = [];

    resumeInGroups(['a'], (item, i) => resumed.push(`${item}${i}`), held);

    expect(resumed).to.deep.equal(['a0']);
  });

  it('lets few continue at once', async () => {
    expect(await resumedInTurns(2)).to.deep.equal([2]);
    expect(await resumedInTurns(7)).to.deep.equal([7]);
  });

  it('lets half of more continue in each turn, in order', async () => {
    expect(await resumedInTurns(8)).to.deep.equal([4, 8]);
    expect(await resumedInTurns(11)).to.deep.equal([6, 11]);
  });

  it('lets eight of many continue in each turn, in order', async () => {
    expect(await resumedInTurns(20)).to.deep.equal([8, 16, 20]);
  });

  it('holds back what each group of many writes, and nothing that few write', async () => {
    expect(await holdsOf(7)).to.deep.equal([]);
    expect(await holdsOf(8)).to.deep.equal([0, 5]);

    /** Where among those who continue something was held back. */
    async function holdsOf(count: number): Promise<number[]> {
      const calls: string[] = [];
      const hold = () => {
        calls.push('hold');
        return held();
      };
      resumeInGroups(Array.from({ length: count }), () => calls.push('resume'), hold);
      await nextTurn();
      return calls.map((call, i) => (call === 'hold' ? i : -1)).filter(i => i >= 0);
    }
  });

  it('lets eight continue in each turn where nothing can be held back', async () => {
    const resumed: number[] = [];

    resumeInGroups(Array.from({ length: 9 }), (_, i) => resumed.push(i), undefined);

    expect(resumed).to.have.length(8);
    await nextTurn();
    expect(resumed).to.have.length(9);
  });

  it('does nothing where nobody waits', () => {
    resumeInGroups([], expect.fail, undefined);
  });
});

describe('resumeInThisTurn', () => {
  it('lets all continue before the next turn, a group when the one before has written', async () => {
    const calls: (number | string)[] = [];
    const hold = async () => {
      calls.push('hold');
      await held();
      calls.push('written');
    };

    void resumeInThisTurn([1, 2, 3, 4, 5, 6, 7, 8], item => calls.push(item), hold);
    expect(calls).to.deep.equal(['hold', 1, 2, 3, 4]);
    await nextTurn();

    expect(calls).to.deep.equal(['hold', 1, 2, 3, 4, 'written', 'hold', 5, 6, 7, 8, 'written']);
  });

  it('lets few continue at once, and many where nothing can be held back', () => {
    const resumed: number[] = [];
    const resume = (item: number) => resumed.push(item);

    void resumeInThisTurn([1, 2, 3, 4, 5, 6, 7], resume, expect.fail);
    expect(resumed).to.have.length(7);
    void resumeInThisTurn(
      Array.from({ length: 50 }, (_, i) => i),
      resume,
      undefined,
    );

    expect(resumed).to.have.length(57);
  });

  it('does nothing where nobody waits', async () => {
    await resumeInThisTurn([], expect.fail, expect.fail);
  });
});
