/** The conformance suite is tested itself: a cache that breaks a guarantee fails a test of that guarantee. */

import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import type {
  AcquireResult,
  AcquireStep,
  EnterStep,
  ForceReleaseStep,
  LeaveStep,
  LineQuery,
  LockCache,
  LockRecord,
  ReleaseStep,
  RenewStep,
} from '../../src/cache/contract.ts';
import { MemoryCache } from '../../src/cache/memory.ts';
import {
  type CreatedCache,
  GUARANTEES,
  type GuaranteeName,
  type TestRunner,
  testLockCache,
} from '../../src/conformance/suite.ts';
import { releaseStep } from '../support/steps.ts';

/** A `MemoryCache` that breaks no guarantee. Its subclasses break one each. */
class Breakable implements LockCache {
  readonly #inner = new MemoryCache();

  async acquire(steps: readonly AcquireStep[]): Promise<(AcquireResult | Error)[]> {
    return this.#inner.acquire(steps);
  }
  async renew(steps: readonly RenewStep[]): Promise<(boolean | Error)[]> {
    return this.#inner.renew(steps);
  }
  async release(steps: readonly ReleaseStep[]): Promise<(boolean | Error)[]> {
    return this.#inner.release(steps);
  }
  async inspect(storedKeys: readonly string[]): Promise<(LockRecord | undefined)[]> {
    return this.#inner.inspect(storedKeys);
  }
  list(prefix: string): AsyncIterable<LockRecord> {
    return this.#inner.list(prefix);
  }
  async forceRelease(steps: readonly ForceReleaseStep[]): Promise<(boolean | Error)[]> {
    return this.#inner.forceRelease(steps);
  }
  async enter(steps: readonly EnterStep[]) {
    return this.#inner.enter(steps);
  }
  async leave(steps: readonly LeaveStep[]) {
    return this.#inner.leave(steps);
  }
  async lines(queries: readonly LineQuery[]) {
    return this.#inner.lines(queries);
  }
  async strikeOut(steps: readonly LineQuery[]) {
    return this.#inner.strikeOut(steps);
  }
  async results(storedKeys: readonly string[]) {
    return this.#inner.results(storedKeys);
  }
}

/** A cache for each guarantee, with a mistake that breaks it. */
const broken: Record<GuaranteeName, () => CreatedCache> = {
  exclusion: () => {
    const stored = new Map<string, AcquireStep>();
    class ReadsThenWrites extends Breakable {
      override acquire(steps: readonly AcquireStep[]) {
        return Promise.all(steps.map(step => this.#acquire(step)));
      }
      async #acquire(step: AcquireStep): Promise<AcquireResult | Error> {
        const [record] = await super.inspect([step.storedKey]);
        if (record && record.owner !== step.owner) return { acquired: false, record };
        await delay(1);
        const before = stored.get(step.storedKey);
        if (before) await super.release([releaseStep(before)]);
        stored.set(step.storedKey, step);
        return (await super.acquire([step]))[0] as AcquireResult;
      }
    }
    return shared(new ReadsThenWrites());
  },
  onlyTheHolder: () => {
    // This is how a published library frees the lock of the next holder.
    const tokens = new Map<string, string>();
    class ReleasesAnyLease extends Breakable {
      override async acquire(steps: readonly AcquireStep[]) {
        const results = await super.acquire(steps);
        steps.forEach(({ storedKey, token }, i) => {
          const result = results[i];
          if (result && 'acquired' in result && result.acquired) tokens.set(storedKey, token);
        });
        return results;
      }
      override release(steps: readonly ReleaseStep[]) {
        return super.release(
          steps.map(step => ({ ...step, token: tokens.get(step.storedKey) ?? step.token })),
        );
      }
    }
    return shared(new ReleasesAnyLease());
  },
  expiry: () => {
    class AddsUpTtls extends Breakable {
      readonly #sums = new Map<string, number>();
      override renew(steps: readonly RenewStep[]) {
        return super.renew(
          steps.map(step => {
            const ttl = (this.#sums.get(step.token) ?? step.ttl) + step.ttl;
            this.#sums.set(step.token, ttl);
            return { ...step, ttl };
          }),
        );
      }
    }
    return shared(new AddsUpTtls());
  },
  reclaim: () => {
    class TellsRunsApart extends Breakable {
      override acquire(steps: readonly AcquireStep[]) {
        return super.acquire(
          steps.map(step => ({ ...step, owner: `${step.owner}, attempt ${step.attempt}` })),
        );
      }
      override async inspect(storedKeys: readonly string[]) {
        const records = await super.inspect(storedKeys);
        return records.map(one => one && { ...one, owner: one.owner.replace(/, attempt \d+$/, '') });
      }
    }
    return shared(new TellsRunsApart());
  },
  dedupeWindow: () => {
    class FreesAtOnce extends Breakable {
      override release(steps: readonly ReleaseStep[]) {
        return super.release(steps.map(step => ({ ...step, dedupeFor: 0 })));
      }
    }
    return shared(new FreesAtOnce());
  },
  reservations: () => {
    class ForgetsReservations extends Breakable {
      override release(steps: readonly ReleaseStep[]) {
        return super.release(steps.map(({ reservation: _, ...step }) => step));
      }
    }
    return shared(new ForgetsReservations());
  },
  fencing: () => {
    class GivesOneFence extends Breakable {
      override async acquire(steps: readonly AcquireStep[]) {
        const results = await super.acquire(steps);
        return results.map(result =>
          'acquired' in result && result.acquired ? { ...result, fence: 1 } : result,
        );
      }
    }
    return shared(new GivesOneFence());
  },
  batches: () => {
    class AnswersOutOfOrder extends Breakable {
      override async release(steps: readonly ReleaseStep[]) {
        return (await super.release(steps)).sort();
      }
    }
    return shared(new AnswersOutOfOrder());
  },
  anyKey: () => {
    const truncate = <Step extends { storedKey: string }>(steps: readonly Step[]) =>
      steps.map(step => ({ ...step, storedKey: step.storedKey.slice(0, 255) }));
    class TruncatesKeys extends Breakable {
      override acquire(steps: readonly AcquireStep[]) {
        return super.acquire(truncate(steps));
      }
      override release(steps: readonly ReleaseStep[]) {
        return super.release(truncate(steps));
      }
      override inspect(storedKeys: readonly string[]) {
        return super.inspect(storedKeys.map(storedKey => storedKey.slice(0, 255)));
      }
    }
    return shared(new TruncatesKeys());
  },
  foreignValues: () => ({ ...shared(new Breakable()), foreign: () => {} }),
  outages: () => {
    class AnswersNo extends Breakable {
      isDown = false;
      override async acquire(steps: readonly AcquireStep[]) {
        if (!this.isDown) return super.acquire(steps);
        return steps.map(
          ({ storedKey }) => ({ acquired: false, record: { storedKey } as LockRecord }) as const,
        );
      }
    }
    const cache = new AnswersNo();
    return {
      ...shared(cache),
      outage: () => {
        cache.isDown = true;
      },
    };
  },
  acrossInstances: () => ({ cache: new Breakable(), other: new Breakable() }),
  retention: () => {
    class DropsOldLeases extends Breakable {
      readonly #steps: AcquireStep[] = [];
      override async acquire(steps: readonly AcquireStep[]) {
        const results = await super.acquire(steps);
        this.#steps.push(...steps);
        if (this.#steps.length > 5000) {
          await super.release(this.#steps.splice(0, 4000).map(step => releaseStep(step)));
        }
        return results;
      }
    }
    return shared(new DropsOldLeases());
  },
  lines: () => {
    class LetsPushIn extends Breakable {
      override async enter(steps: readonly EnterStep[]) {
        return super.enter(steps.map(({ line, ...step }) => step));
      }
    }
    return shared(new LetsPushIn());
  },
  results: () => {
    class ForgetsResults extends Breakable {
      override async results(storedKeys: readonly string[]) {
        return storedKeys.map(() => undefined);
      }
    }
    return shared(new ForgetsResults());
  },
  matching: () => {
    class ForgetsHashes extends Breakable {
      override async acquire(steps: readonly AcquireStep[]) {
        return super.acquire(steps.map(({ match: _, ...step }) => step));
      }
    }
    return shared(new ForgetsHashes());
  },
  listing: () => {
    class ListsAllLocks extends Breakable {
      override list() {
        return super.list('');
      }
    }
    return shared(new ListsAllLocks());
  },
  forcedRelease: () => {
    class OnlyAnswersYes extends Breakable {
      override async forceRelease(steps: readonly ForceReleaseStep[]) {
        return steps.map(() => true);
      }
    }
    return shared(new OnlyAnswersYes());
  },
};

describe('testLockCache', () => {
  for (const guarantee of Object.keys(GUARANTEES) as GuaranteeName[]) {
    it(`fails a cache that breaks the guarantee '${guarantee}'`, async () => {
      const others = Object.keys(GUARANTEES).filter(name => name !== guarantee);
      const tests = define(broken[guarantee], Object.fromEntries(others.map(name => [name, false])));

      const failed = (await run(tests)).filter(({ outcome }) => outcome === 'failed');

      expect(failed).not.to.deep.equal([]);
    }).timeout(60_000);
  }

  it('passes a cache that keeps its guarantees, and reports those that it declares as not kept as skipped', async () => {
    const guarantees = { foreignValues: false, outages: false, acrossInstances: false };

    const results = await run(define(() => ({ cache: new MemoryCache() }), guarantees));

    expect(results.filter(({ outcome }) => outcome === 'failed')).to.deep.equal([]);
    const skipped = results.filter(({ outcome }) => outcome === 'skipped').map(({ name }) => name);
    expect(skipped).to.have.length(4);
    for (const name of skipped) {
      expect(name).to.match(/\(not guaranteed: (foreignValues|outages|acrossInstances)\)$/);
    }
  });

  it('fails a test that needs what create() did not return, and does not skip it', async () => {
    const results = await run(define(() => ({ cache: new MemoryCache() }), { acrossInstances: false }));

    const failed = results.filter(({ outcome }) => outcome === 'failed').map(({ error }) => error?.message);
    expect(failed).to.include.members([
      "create() returned no 'foreign', which the tests of the guarantee 'foreignValues' need; a cache that can't keep this guarantee declares guarantees: { foreignValues: false }",
      "create() returned no 'outage', which the tests of the guarantee 'outages' need; a cache that can't keep this guarantee declares guarantees: { outages: false }",
    ]);
  });

  it('throws where there is no such guarantee, or no test runner', () => {
    const cache = { name: 'x', create: () => ({ cache: new MemoryCache() }) };

    expect(() => testLockCache({ ...cache, guarantees: { fences: false } as object })).to.throw(
      TypeError,
      /there is no guarantee 'fences'; there are: exclusion, /,
    );
    expect(() => testLockCache({ ...cache, runner: {} as TestRunner })).to.throw(
      TypeError,
      /there is no test runner/,
    );
  });
});

interface DefinedTest {
  readonly name: string;
  /** Absent for a test that is skipped. */
  readonly test: (() => Promise<void>) | undefined;
}

/** Collects the tests that the suite defines. */
function define(create: () => CreatedCache, guarantees: { [name: string]: boolean }): DefinedTest[] {
  const tests: DefinedTest[] = [];
  const it = (name: string, test: () => Promise<void>) => void tests.push({ name, test });
  const skip = (name: string) => void tests.push({ name, test: undefined });
  const runner: TestRunner = {
    describe: (_name, body) => body(),
    it: Object.assign(it, { skip }),
    afterAll() {},
  };
  testLockCache({ name: 'a cache', create, guarantees, runner });
  return tests;
}

interface TestResult {
  readonly name: string;
  readonly outcome: 'passed' | 'failed' | 'skipped';
  readonly error?: Error;
}

async function run(tests: readonly DefinedTest[]): Promise<TestResult[]> {
  const results: TestResult[] = [];
  for (const { name, test } of tests) {
    if (!test) {
      results.push({ name, outcome: 'skipped' });
      continue;
    }
    await test().then(
      () => results.push({ name, outcome: 'passed' }),
      error => results.push({ name, outcome: 'failed', error }),
    );
  }
  return results;
}

function shared(cache: LockCache): CreatedCache {
  return { cache, other: cache };
}
