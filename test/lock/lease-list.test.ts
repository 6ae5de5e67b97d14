import { expect } from 'chai';
import { LeaseList, type Listed } from '../../src/lock/lease-list.ts';
import { nextTurn } from '../support/index.ts';

let made = 0;

/** Each has a number, so that no two are equal. */
function item(): Listed {
  return Object.assign({ isListed: false }, { number: made++ });
}

describe('LeaseList', () => {
  it('has what was added and not removed, in order', () => {
    const list = new LeaseList();
    const items = Array.from({ length: 1000 }, item);
    for (const one of items) list.add(one);
    for (const [i, one] of items.entries()) if (i % 7 !== 0) list.delete(one);

    expect([...list]).to.deep.equal(items.filter((_, i) => i % 7 === 0));
  });

  it('has an item once, however often it is added', () => {
    const list = new LeaseList();
    const one = item();
    list.add(one);
    list.add(one);

    expect([...list]).to.deep.equal([one]);
  });

  it('reports whether an item that is removed was listed', () => {
    const list = new LeaseList();
    const one = item();
    list.add(one);

    expect([list.delete(one), list.delete(one), list.delete(item())]).to.deep.equal([true, false, false]);
    expect([...list]).to.deep.equal([]);
  });

  it('goes on while items are removed and added', () => {
    const list = new LeaseList();
    const items = Array.from({ length: 500 }, item);
    for (const one of items) list.add(one);

    const seen: Listed[] = [];
    for (const one of list) {
      seen.push(one);
      list.delete(one);
      list.add(item());
    }

    expect(seen).to.include.members(items);
    expect(new Set(seen).size).to.equal(seen.length);
    expect([...list].length).to.be.at.least(items.length);
  });

  it('retains little of what was removed', async () => {
    const list = new LeaseList();
    const removed: WeakRef<Listed>[] = [];
    for (let i = 0; i < 10_000; i++) {
      const one = item();
      list.add(one);
      list.delete(one);
      removed.push(new WeakRef(one));
    }

    const { default: v8 } = await import('node:v8');
    v8.setFlagsFromString('--expose-gc');
    const { runInNewContext } = await import('node:vm');
    await nextTurn();
    (runInNewContext('gc') as () => void)();

    expect(removed.filter(ref => ref.deref()).length).to.be.below(200);
  });
});
