import { expect } from 'chai';
import { resumeByPackets, resumeInGroups } from '../../../src/cache/batching/resuming.ts';
import { nextTurn } from '../../support/index.ts';

/** Of a connection that holds back what eight or more write. It is written after some promise callbacks. */
const PACKETS = { minCount: 8, begin: written };

async function written(): Promise<void> {
  for (let round = 0; round < 10; round++) await undefined;
}

describe('resumeInGroups', () => {
  /** How many of some items have continued at once, and by the end of each turn of the event loop in which some do. */
  async function resumedInTurns(count: number): Promise<number[]> {
    const items = Array.from({ length: count }, (_, i) => i);
    const resumed: number[] = [];
    void resumeInGroups(items, item => resumed.push(item), PACKETS);
    const counts = [resumed.length];
    while (resumed.length < count) {
      await nextTurn();
      if (resumed.length > (counts.at(-1) as number)) counts.push(resumed.length);
    }
    expect(resumed).to.deep.equal(items);
    return counts;
  }

  it('lets a lone one continue at once', () => {
    const resumed: string[] = [];

    void resumeInGroups(['a'], (item, i) => resumed.push(`${item}${i}`), PACKETS);

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

  it('makes a packet of what each group of many writes, and none of what few write', async () => {
    expect(await packetsOf(7)).to.deep.equal([]);
    expect(await packetsOf(8)).to.deep.equal([0, 5]);

    /** Where among those who continue a packet began. */
    async function packetsOf(count: number): Promise<number[]> {
      const calls: string[] = [];
      const begin = () => {
        calls.push('packet');
        return written();
      };
      await resumeInGroups(Array.from({ length: count }), () => calls.push('resume'), { ...PACKETS, begin });
      return calls.map((call, i) => (call === 'packet' ? i : -1)).filter(i => i >= 0);
    }
  });

  it('lets eight continue in each turn where nothing is known of packets', async () => {
    const resumed: number[] = [];

    const items = Array.from({ length: 9 }, (_, i) => i);
    const all = resumeInGroups(items, i => resumed.push(i), undefined);

    expect(resumed).to.have.length(8);
    await all;
    expect(resumed).to.have.length(9);
  });

  it('lets a group continue only when the one before has written', async () => {
    const calls: (number | string)[] = [];
    const begin = async () => {
      await nextTurn();
      await nextTurn();
      calls.push('written');
    };

    await resumeInGroups([1, 2, 3], item => calls.push(item), { minCount: 2, begin });

    expect(calls).to.deep.equal([1, 2, 'written', 3, 'written']);
  });

  it('does nothing where nobody waits', async () => {
    await resumeInGroups([], expect.fail, undefined);
  });
});

describe('resumeByPackets', () => {
  it('lets a group continue as soon as the one before has written', async () => {
    const calls: (number | string)[] = [];
    const begin = async () => {
      calls.push('packet');
      await written();
      calls.push('written');
    };

    void resumeByPackets([1, 2, 3, 4, 5, 6, 7, 8], item => calls.push(item), { ...PACKETS, begin });
    expect(calls).to.deep.equal(['packet', 1, 2, 3, 4]);
    await nextTurn();

    expect(calls).to.deep.equal(['packet', 1, 2, 3, 4, 'written', 'packet', 5, 6, 7, 8, 'written']);
  });

  it('lets few continue at once, and many where nothing is known of packets', () => {
    const resumed: number[] = [];
    const resume = (item: number) => resumed.push(item);

    void resumeByPackets([1, 2, 3, 4, 5, 6, 7], resume, { ...PACKETS, begin: expect.fail });
    expect(resumed).to.have.length(7);
    void resumeByPackets(
      Array.from({ length: 50 }, (_, i) => i),
      resume,
      undefined,
    );

    expect(resumed).to.have.length(57);
  });

  it('does nothing where nobody waits', async () => {
    await resumeByPackets([], expect.fail, { ...PACKETS, begin: expect.fail });
  });
});
