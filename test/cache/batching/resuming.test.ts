import { expect } from 'chai';
import { resumeInGroups } from '../../../src/cache/batching/resuming.ts';

describe('resumeInGroups', () => {
  const nothing = () => {};

  /** How many of some items have continued at once, and by the end of each turn of the event loop after that. */
  async function resumedInTurns(count: number): Promise<number[]> {
    const items = Array.from({ length: count }, (_, i) => i);
    const resumed: number[] = [];
    resumeInGroups(items, item => resumed.push(item), nothing);
    const counts = [resumed.length];
    while (resumed.length < count) {
      await new Promise(resolve => setImmediate(resolve));
      counts.push(resumed.length);
    }
    expect(resumed).to.deep.equal(items);
    return counts;
  }

  it('lets a lone one continue at once', () => {
    const resumed: string[] = [];

    resumeInGroups(['a'], (item, i) => resumed.push(`${item}${i}`), nothing);

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
    const holdsOf = async (count: number) => {
      const calls: string[] = [];
      resumeInGroups(
        Array.from({ length: count }),
        () => calls.push('resume'),
        () => calls.push('hold'),
      );
      await new Promise(resolve => setImmediate(resolve));
      return calls.map((call, i) => (call === 'hold' ? i : -1)).filter(i => i >= 0);
    };

    expect(await holdsOf(7)).to.deep.equal([]);
    expect(await holdsOf(8)).to.deep.equal([0, 5]);
  });

  it('lets eight continue in each turn where nothing can be held back', async () => {
    const resumed: number[] = [];

    resumeInGroups(Array.from({ length: 9 }), (_, i) => resumed.push(i), undefined);

    expect(resumed).to.have.length(8);
    await new Promise(resolve => setImmediate(resolve));
    expect(resumed).to.have.length(9);
  });

  it('does nothing where nobody waits', () => {
    resumeInGroups([], expect.fail, undefined);
  });
});
