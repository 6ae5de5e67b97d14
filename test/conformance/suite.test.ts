/** The suite that proves caches is proved itself: a cache that breaks a promise fails a test of that promise. */

import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import type { Arrival, Claim, Holder, Lease, LockCache, Newest, Verdict } from '../../src/cache/contract.ts';
import {
  type CreatedCache,
  PROMISES,
  type PromiseName,
  type TestRunner,
  testLockCache,
} from '../../src/conformance/suite.ts';
import { MemoryCache } from '../../src/index.ts';

/** A `MemoryCache`, of which a promise can be broken. */
class Breakable implements LockCache {
  readonly #inner = new MemoryCache();

  async acquire(claims: readonly Claim[]): Promise<(Verdict | Error)[]> {
    return this.#inner.acquire(claims);
  }
  async renew(leases: readonly Lease[]): Promise<(boolean | Error)[]> {
    return this.#inner.renew(leases);
  }
  async release(leases: readonly Lease[]): Promise<(boolean | Error)[]> {
    return this.#inner.release(leases);
  }
  async inspect(keys: readonly string[]): Promise<(Holder | undefined)[]> {
    return this.#inner.inspect(keys);
  }
  list(prefix: string): AsyncIterable<Holder> {
    return this.#inner.list(prefix);
  }
  async evict(keys: readonly string[]): Promise<(boolean | Error)[]> {
    return this.#inner.evict(keys);
  }
  async announce(arrivals: readonly Arrival[]): Promise<(Newest | Error)[]> {
    return this.#inner.announce(arrivals);
  }
}

/** What others get wrong. The first is how a published library frees the lock of the next holder. */
const broken: Record<PromiseName, () => CreatedCache> = {
  listing: () => {
    class ListsAllThereIs extends Breakable {
      override list() {
        return super.list('');
      }
    }
    return shared(new ListsAllThereIs());
  },
  eviction: () => {
    class SaysSoAndDoesNot extends Breakable {
      override async evict(keys: readonly string[]) {
        return keys.map(() => true);
      }
    }
    return shared(new SaysSoAndDoesNot());
  },
  onlyTheHolder: () => {
    const tokens = new Map<string, string>();
    class FreesWhateverIsThere extends Breakable {
      override async acquire(claims: readonly Claim[]) {
        const verdicts = await super.acquire(claims);
        claims.forEach(({ key, token }, i) => {
          const verdict = verdicts[i];
          if (verdict && 'taken' in verdict && verdict.taken) tokens.set(key, token);
        });
        return verdicts;
      }
      override release(leases: readonly Lease[]) {
        return super.release(leases.map(one => ({ ...one, token: tokens.get(one.key) ?? one.token })));
      }
    }
    return shared(new FreesWhateverIsThere());
  },
  exclusion: () => {
    const stored = new Map<string, Claim>();
    class LooksAndThenTakes extends Breakable {
      override acquire(claims: readonly Claim[]) {
        return Promise.all(claims.map(claim => this.#take(claim)));
      }
      async #take(claim: Claim): Promise<Verdict | Error> {
        const [holder] = await super.inspect([claim.key]);
        if (holder && holder.owner !== claim.owner) return { taken: false, holder };
        await delay(1);
        const before = stored.get(claim.key);
        if (before) await super.release([asLease(before)]);
        stored.set(claim.key, claim);
        return (await super.acquire([claim]))[0] as Verdict;
      }
    }
    return shared(new LooksAndThenTakes());
  },
  expiry: () => {
    class AddsUp extends Breakable {
      readonly #added = new Map<string, number>();
      override renew(leases: readonly Lease[]) {
        return super.renew(
          leases.map(one => {
            const ttl = (this.#added.get(one.token) ?? one.ttl) + one.ttl;
            this.#added.set(one.token, ttl);
            return { ...one, ttl };
          }),
        );
      }
    }
    return shared(new AddsUp());
  },
  takeOver: () => {
    class IsItsOwnDuplicate extends Breakable {
      override acquire(claims: readonly Claim[]) {
        return super.acquire(claims.map(one => ({ ...one, owner: `${one.owner}, attempt ${one.attempt}` })));
      }
      override async inspect(keys: readonly string[]) {
        const holders = await super.inspect(keys);
        return holders.map(one => one && { ...one, owner: one.owner.replace(/, attempt \d+$/, '') });
      }
    }
    return shared(new IsItsOwnDuplicate());
  },
  keepFor: () => {
    class LetsGoAtOnce extends Breakable {
      override release(leases: readonly Lease[]) {
        return super.release(leases.map(one => ({ ...one, keepFor: 0 })));
      }
    }
    return shared(new LetsGoAtOnce());
  },
  fencing: () => {
    class CountsPerHolder extends Breakable {
      override async acquire(claims: readonly Claim[]) {
        const verdicts = await super.acquire(claims);
        return verdicts.map(one => ('taken' in one && one.taken ? { ...one, fence: 1 } : one));
      }
    }
    return shared(new CountsPerHolder());
  },
  batches: () => {
    class AnswersInItsOwnOrder extends Breakable {
      override async release(leases: readonly Lease[]) {
        return (await super.release(leases)).sort();
      }
    }
    return shared(new AnswersInItsOwnOrder());
  },
  anyKey: () => {
    const cut = <Step extends { key: string }>(steps: readonly Step[]) =>
      steps.map(step => ({ ...step, key: step.key.slice(0, 255) }));
    class CutsKeys extends Breakable {
      override acquire(claims: readonly Claim[]) {
        return super.acquire(cut(claims));
      }
      override release(leases: readonly Lease[]) {
        return super.release(cut(leases));
      }
      override inspect(keys: readonly string[]) {
        return super.inspect(keys.map(key => key.slice(0, 255)));
      }
    }
    return shared(new CutsKeys());
  },
  foreignValues: () => ({ ...shared(new Breakable()), foreign: () => {} }),
  outages: () => {
    class SaysNo extends Breakable {
      down = false;
      override async acquire(claims: readonly Claim[]) {
        if (!this.down) return super.acquire(claims);
        return claims.map(({ key }) => ({ taken: false, holder: { key } as Holder }) as const);
      }
    }
    const cache = new SaysNo();
    return {
      ...shared(cache),
      outage: () => {
        cache.down = true;
      },
    };
  },
  acrossInstances: () => ({ cache: new Breakable(), other: new Breakable() }),
  retention: () => {
    class Evicts extends Breakable {
      readonly #taken: Claim[] = [];
      override async acquire(claims: readonly Claim[]) {
        const verdicts = await super.acquire(claims);
        this.#taken.push(...claims);
        if (this.#taken.length > 5000) await super.release(this.#taken.splice(0, 4000).map(asLease));
        return verdicts;
      }
    }
    return shared(new Evicts());
  },
  newest: () => {
    class TakesTheLatest extends Breakable {
      override async announce(arrivals: readonly Arrival[]) {
        return arrivals.map(({ owner, waits }) => ({ owner, waits }));
      }
    }
    return shared(new TakesTheLatest());
  },
};

describe('the suite that proves caches', () => {
  for (const promise of Object.keys(PROMISES) as PromiseName[]) {
    it(`finds a cache that breaks the promise '${promise}'`, async () => {
      const others = Object.keys(PROMISES).filter(name => name !== promise);
      const tests = define(broken[promise], Object.fromEntries(others.map(name => [name, false])));

      const failed = (await run(tests)).filter(({ outcome }) => outcome === 'failed');

      expect(failed).not.to.deep.equal([]);
    }).timeout(60_000);
  }

  it('lets a cache that keeps all its promises pass, and reports as skipped what was declared', async () => {
    const promises = { foreignValues: false, outages: false, acrossInstances: false };

    const results = await run(define(() => ({ cache: new MemoryCache() }), promises));

    expect(results.filter(({ outcome }) => outcome === 'failed')).to.deep.equal([]);
    const skipped = results.filter(({ outcome }) => outcome === 'skipped').map(({ name }) => name);
    expect(skipped).to.have.length(4);
    for (const name of skipped)
      expect(name).to.match(/\(not promised: (foreignValues|outages|acrossInstances)\)$/);
  });

  it('fails where what a promise is shown by is not there, instead of passing it over', async () => {
    const results = await run(define(() => ({ cache: new MemoryCache() }), { acrossInstances: false }));

    const failed = results.filter(({ outcome }) => outcome === 'failed').map(({ error }) => error?.message);
    expect(failed).to.include.members([
      "create() gave no 'foreign', which the promise 'foreignValues' is shown by; a cache that can't keep it declares promises: { foreignValues: false }",
      "create() gave no 'outage', which the promise 'outages' is shown by; a cache that can't keep it declares promises: { outages: false }",
    ]);
  });

  it('says what is wrong where there is no such promise, or no test runner', () => {
    const cache = { name: 'x', create: () => ({ cache: new MemoryCache() }) };

    expect(() => testLockCache({ ...cache, promises: { fences: false } as object })).to.throw(
      TypeError,
      /there is no promise 'fences'; there are: exclusion, /,
    );
    expect(() => testLockCache({ ...cache, runner: {} as TestRunner })).to.throw(
      TypeError,
      /no test runner was found/,
    );
  });
});

interface Defined {
  readonly name: string;
  readonly test: (() => Promise<void>) | undefined;
}

function define(create: () => CreatedCache, promises: { [name: string]: boolean }): Defined[] {
  const tests: Defined[] = [];
  const it = (name: string, test: () => Promise<void>) => void tests.push({ name, test });
  const skip = (name: string) => void tests.push({ name, test: undefined });
  const runner: TestRunner = {
    describe: (_name, body) => body(),
    it: Object.assign(it, { skip }),
    afterAll() {},
  };
  testLockCache({ name: 'a cache', create, promises, runner });
  return tests;
}

async function run(tests: readonly Defined[]) {
  const results: { name: string; outcome: 'passed' | 'failed' | 'skipped'; error?: Error }[] = [];
  for (const { name, test } of tests) {
    if (!test) results.push({ name, outcome: 'skipped' });
    else {
      await test().then(
        () => results.push({ name, outcome: 'passed' }),
        error => results.push({ name, outcome: 'failed', error }),
      );
    }
  }
  return results;
}

function shared(cache: LockCache): CreatedCache {
  return { cache, other: cache };
}

function asLease({ key, token, ttl }: Claim): Lease {
  return { key, token, ttl, keepFor: 0 };
}
