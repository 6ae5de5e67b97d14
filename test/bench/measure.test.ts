import { expect } from 'chai';
import { measure, median, summary } from '../../bench/measure.ts';

describe('The benchmarks', () => {
  it('let the contenders take turns: every other round in reverse, and none always first or in the middle', async () => {
    const order: string[] = [];
    const contender = (name: string) => ({ name, run: async () => ({ ms: order.push(name) }) });

    await measure([contender('a'), contender('b'), contender('c')], 6);

    expect(order.join('').match(/.../g)).to.deep.equal(['abc', 'cba', 'bca', 'acb', 'cab', 'bac']);
  });

  it('give the medians of the figures, and of their ratios within a round', async () => {
    const figures = { floor: [10, 20, 1000], other: [5, 40, 500] };
    const contender = (name: 'floor' | 'other') => {
      let round = 0;
      return { name, run: async () => ({ 'jobs/s': figures[name][round++] as number }) };
    };

    const [floor, other] = await measure([contender('floor'), contender('other')], 3);

    expect(floor?.ratios['jobs/s']).to.deep.equal({ median: 1, spread: 0 });
    expect(other?.figures['jobs/s']?.median).to.equal(40);
    expect(other?.ratios['jobs/s']?.median).to.equal(0.5);
  });

  it('give the middle of an even number of values as the median', () => {
    expect(median([4, 1, 3, 2])).to.equal(2.5);
    expect(median([])).to.be.NaN;
  });

  it('give the interquartile range as a part of the median', () => {
    expect(summary([8, 9, 10, 11, 12])).to.deep.equal({ median: 10, spread: 0.2 });
    expect(summary([7])).to.deep.equal({ median: 7, spread: 0 });
    expect(summary([0, 0])).to.deep.equal({ median: 0, spread: 0 });
  });
});
