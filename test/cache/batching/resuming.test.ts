import { expect } from 'chai';
import { resumeInGroups } from '../../../src/cache/batching/resuming.ts';
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
    resumeInGroups(
      items.map(item => () => resumed.push(item)),
      held,
    );
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

    resumeInGroups([() => resumed.push('a')], held);

    expect(resumed).to.deep.equal(['a']);
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
      resumeInGroups(
        Array.from({ length: count }, () => () => calls.push('resume')),
        hold,
      );
      await nextTurn();
      return calls.map((call, i) => (call === 'hold' ? i : -1)).filter(i => i >= 0);
    }
  });

  it('lets as many continue in each turn where nothing can be held back', async () => {
    let resumed = 0;

    resumeInGroups(
      Array.from({ length: 9 }, () => () => resumed++),
      undefined,
    );

    expect(resumed).to.equal(5);
    await nextTurn();
    expect(resumed).to.equal(9);
  });

  it('does nothing where nobody waits', () => {
    resumeInGroups([], expect.fail);
  });
});
