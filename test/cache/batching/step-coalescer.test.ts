import { expect } from 'chai';
import { StepCoalescer } from '../../../src/cache/batching/step-coalescer.ts';

/** A datastore whose calls are answered when the test says so. */
class Calls {
  readonly sent: (readonly number[])[] = [];
  readonly #answers: (() => void)[] = [];

  readonly send = (steps: readonly number[]): Promise<readonly string[]> => {
    this.sent.push(steps);
    return new Promise(resolve => {
      this.#answers.push(() => resolve(steps.map(step => `answer ${step}`)));
    });
  };

  async answer(call: number): Promise<void> {
    this.#answers[call]?.();
    await new Promise(setImmediate);
  }
}

describe('StepCoalescer', () => {
  let calls: Calls;
  let coalescer: StepCoalescer<number, string>;
  beforeEach(() => {
    calls = new Calls();
    coalescer = new StepCoalescer(calls.send, { maxCalls: 2, maxSteps: 4 });
  });

  it('sends steps at once while few calls are under way', () => {
    void coalescer.take([1, 2]);
    void coalescer.take([3]);
    void coalescer.take([4]);

    expect(calls.sent).to.deep.equal([[1, 2], [3]]);
  });

  it('sends what came meanwhile as one call in its order, and gives each its own answers', async () => {
    const first = coalescer.take([1]);
    void coalescer.take([2]);
    const later = [coalescer.take([3, 4]), coalescer.take([5])];
    await calls.answer(0);
    await calls.answer(2);

    expect(calls.sent).to.deep.equal([[1], [2], [3, 4, 5]]);
    expect(await first).to.deep.equal(['answer 1']);
    expect(await Promise.all(later)).to.deep.equal([['answer 3', 'answer 4'], ['answer 5']]);
  });

  it('makes no call larger than its limit of lists that would each fit', async () => {
    for (const steps of [[1], [2], [3, 4, 5], [6, 7], [8, 9, 10, 11, 12]]) void coalescer.take(steps);
    for (const call of [0, 1, 2]) await calls.answer(call);

    expect(calls.sent.slice(2)).to.deep.equal([
      [3, 4, 5],
      [6, 7],
      [8, 9, 10, 11, 12],
    ]);
  });

  it('sends what has waited for a second, though the calls hang', async () => {
    for (const step of [1, 2, 3]) void coalescer.take([step]);
    await new Promise(resolve => setTimeout(resolve, 1100));

    expect(calls.sent).to.deep.equal([[1], [2], [3]]);
  });
});
