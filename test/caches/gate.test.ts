import { expect } from 'chai';
import { Gate } from '../../src/caches/gate.ts';

/** Counts who has gone on, and turns of the event loop. */
function nextTurn(): Promise<void> {
  return new Promise(resolve => {
    setImmediate(resolve);
  });
}

describe('Gate', () => {
  function crowd(size: number): { gate: Gate; gone: number[] } {
    const gate = new Gate();
    const gone: number[] = [];
    for (let i = 0; i < size; i++) void gate.wait().then(() => gone.push(i));
    return { gate, gone };
  }

  it('holds everybody until it is opened', async () => {
    const { gone } = crowd(3);

    await nextTurn();

    expect(gone).to.deep.equal([]);
  });

  it('lets a few go on at once, without a turn of the event loop', async () => {
    const { gate, gone } = crowd(3);

    gate.open();
    await Promise.resolve();

    expect(gone).to.deep.equal([0, 1, 2]);
  });

  it('lets many go on in order, eight in each turn of the event loop', async () => {
    const { gate, gone } = crowd(20);
    const counts: number[] = [];

    gate.open();
    for (let turn = 0; turn < 4; turn++) {
      await Promise.resolve();
      counts.push(gone.length);
      await nextTurn();
    }

    expect(counts).to.deep.equal([8, 16, 20, 20]);
    expect(gone).to.deep.equal([...gone].sort((a, b) => a - b));
  });

  it('opens for nobody', () => {
    expect(() => new Gate().open()).not.to.throw();
  });
});
