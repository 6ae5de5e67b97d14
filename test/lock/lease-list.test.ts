import { expect } from 'chai';
import { KeptLease } from '../../src/lock/lease.ts';
import { Watchlist } from '../../src/lock/lease-list.ts';
import { request } from '../support/claims.ts';

function lease(): KeptLease {
  return new KeptLease(request());
}

describe('Watchlist', () => {
  it('has what was added and not taken away, in order', () => {
    const list = new Watchlist();
    const leases = Array.from({ length: 1000 }, lease);
    for (const one of leases) list.add(one);
    for (const [i, one] of leases.entries()) if (i % 7 !== 0) list.delete(one);

    expect([...list]).to.deep.equal(leases.filter((_, i) => i % 7 === 0));
  });

  it('has a lease once, however often it is added', () => {
    const list = new Watchlist();
    const one = lease();
    list.add(one);
    list.add(one);

    expect([...list]).to.deep.equal([one]);
    list.delete(one);
    list.delete(one);
    expect([...list]).to.deep.equal([]);
  });

  it('goes on while leases are taken away and added', () => {
    const list = new Watchlist();
    const leases = Array.from({ length: 500 }, lease);
    for (const one of leases) list.add(one);

    const seen: KeptLease[] = [];
    for (const one of list) {
      seen.push(one);
      list.delete(one);
      list.add(lease());
    }

    expect(seen).to.include.members(leases);
    expect(new Set(seen).size).to.equal(seen.length);
    expect([...list].length).to.be.at.least(leases.length);
  });

  it('keeps little of what was taken away', async () => {
    const list = new Watchlist();
    const gone: WeakRef<KeptLease>[] = [];
    for (let i = 0; i < 10_000; i++) {
      const one = lease();
      list.add(one);
      list.delete(one);
      gone.push(new WeakRef(one));
    }

    const { default: v8 } = await import('node:v8');
    v8.setFlagsFromString('--expose-gc');
    const { runInNewContext } = await import('node:vm');
    await new Promise(resolve => setImmediate(resolve));
    (runInNewContext('gc') as () => void)();

    expect(gone.filter(ref => ref.deref()).length).to.be.below(200);
  });
});
