import { expect } from 'chai';
import { inTurns } from '../../../src/cache/batching/yielding.ts';

describe('inTurns', () => {
  it('tells a few at once', () => {
    const told: string[] = [];

    inTurns(['a', 'b', 'c'], (step, i) => told.push(`${step}${i}`));

    expect(told).to.deep.equal(['a0', 'b1', 'c2']);
  });

  it('tells many in order, eight in each turn of the event loop', async () => {
    const told: number[] = [];
    const counts: number[] = [];

    inTurns(
      Array.from({ length: 20 }, (_, i) => i),
      step => told.push(step),
    );
    for (let turn = 0; turn < 4; turn++) {
      counts.push(told.length);
      await new Promise(resolve => setImmediate(resolve));
    }

    expect(counts).to.deep.equal([8, 16, 20, 20]);
    expect(told).to.deep.equal([...told].sort((a, b) => a - b));
  });

  it('tells nobody', () => {
    inTurns([], () => {
      throw new Error('there is nobody to tell');
    });
  });
});
