import { expect } from 'chai';
import { eachYielding } from '../../../src/cache/batching/yielding.ts';

describe('eachYielding', () => {
  it('visits a few items at once', () => {
    const visited: string[] = [];

    eachYielding(['a', 'b', 'c'], (item, i) => visited.push(`${item}${i}`));

    expect(visited).to.deep.equal(['a0', 'b1', 'c2']);
  });

  it('visits many items in order, eight in each turn of the event loop', async () => {
    const visited: number[] = [];
    const counts: number[] = [];

    eachYielding(
      Array.from({ length: 20 }, (_, i) => i),
      item => visited.push(item),
    );
    for (let turn = 0; turn < 4; turn++) {
      counts.push(visited.length);
      await new Promise(resolve => setImmediate(resolve));
    }

    expect(counts).to.deep.equal([8, 16, 20, 20]);
    expect(visited).to.deep.equal([...visited].sort((a, b) => a - b));
  });

  it('visits nothing (there are no items)', () => {
    eachYielding([], () => {
      throw new Error('there is nothing to visit');
    });
  });
});
