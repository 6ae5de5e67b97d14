import { expect } from 'chai';
import { measure, median } from '../../bench/measure.ts';

describe('The benchmarks', () => {
  it('let the contenders take turns, in reverse in every other round', async () => {
    const order: string[] = [];
    const contender = (name: string) => ({ name, run: async () => ({ ms: order.push(name) }) });

    await measure([contender('a'), contender('b'), contender('c')], 3);

    expect(order.join('')).to.equal('abccbaabc');
  });

  it('give the medians of the figures, and of their ratios within a round', async () => {
    const figures = { floor: [10, 20, 1000], other: [5, 40, 500] };
    const contender = (name: 'floor' | 'other') => {
      let round = 0;
      return { name, run: async () => ({ 'jobs/s': figures[name][round++] as number }) };
    };

    const [floor, other] = await measure([contender('floor'), contender('other')], 3);

    expect(floor?.ratio).to.deep.equal({ 'jobs/s': 1 });
    expect(other?.median).to.deep.equal({ 'jobs/s': 40 });
    expect(other?.ratio).to.deep.equal({ 'jobs/s': 0.5 });
  });

  it('give the middle of an even number of values as the median', () => {
    expect(median([4, 1, 3, 2])).to.equal(2.5);
    expect(median([])).to.be.NaN;
  });
});
