/** Work may throw anything: it reaches BullMQ unchanged, and the key is free. */

import { expect } from 'chai';
import { MemoryCache, once, onceProcessor } from '../../src/index.ts';
import { Bench, oneOfEachKind, plainJob } from '../support/bullmq.ts';
import { deferred, until } from '../support/index.ts';

const hostile = {
  get message(): string {
    throw Object.create(null);
  },
  get name(): string {
    throw Symbol('name');
  },
};
const THROWN: Readonly<Record<string, unknown>> = {
  undefined: undefined,
  null: null,
  'a string': 'no',
  'a symbol': Symbol('no'),
  'an object without a prototype': Object.create(null),
  'an object whose getters throw': hostile,
};

const OPTIONS: Readonly<Record<string, object>> = {
  'no options': {},
  holdThroughRetries: { holdThroughRetries: true },
  "'keep-last'": { whenLocked: 'keep-last' },
  '{ waitFor }': { whenLocked: { waitFor: 100 } },
  'observe mode': { mode: 'observe' },
  "onCacheError: 'run'": { onCacheError: 'run' },
};

describe('What work throws', () => {
  for (const [what, thrown] of Object.entries(THROWN)) {
    for (const [options, more] of Object.entries(OPTIONS)) {
      it(`comes out unchanged, and the key is free (${what}, ${options})`, async () => {
        const cache = new MemoryCache();
        const throwing = onceProcessor(
          async () => {
            throw thrown;
          },
          { key: 'k', cache, ...more },
        );

        const outcome = await throwing(plainJob('1', { attemptsStarted: 1 })).then(
          value => ({ value }),
          (reason: unknown) => ({ reason }),
        );

        expect('reason' in outcome && Object.is(outcome.reason, thrown)).to.equal(true);
        // Observed work does not wait for its release.
        await until(async () => (await cache.inspect(['bull::once:1:emails:k']))[0] === undefined);
      });
    }

    it(`comes out of once unchanged, and the key is free (${what})`, async () => {
      const cache = new MemoryCache();
      const throwing = once(
        () => {
          throw thrown;
        },
        { key: 'k', cache },
      );

      const outcome = await throwing().then(
        value => ({ value }),
        (reason: unknown) => ({ reason }),
      );

      expect('reason' in outcome && Object.is(outcome.reason, thrown)).to.equal(true);
      expect(await cache.inspect(['once::1:default:k'])).to.deep.equal([undefined]);
    });
  }
});

describe('A key function that throws', () => {
  for (const [what, thrown] of Object.entries(THROWN)) {
    it(`fails with a KeyError (${what})`, async () => {
      const guarded = onceProcessor(async () => {}, {
        cache: new MemoryCache(),
        key: () => {
          throw thrown;
        },
      });

      const error = await guarded(plainJob('1')).catch(reason => reason);

      expect(error).to.include({ code: 'ERR_LOCK_KEY' });
    });

    it(`fails with a KeyError (a getter of the data throws ${what})`, async () => {
      const data = {
        get userId(): never {
          throw thrown;
        },
      };
      const guarded = onceProcessor(async () => {}, { cache: new MemoryCache(), key: 'k-{userId}' });

      const error = await guarded(plainJob('1', { data })).catch(reason => reason);

      expect(error).to.include({ code: 'ERR_LOCK_KEY' });
    });
  }
});

for (const setup of oneOfEachKind) {
  describe(`A job that throws (${setup.name})`, () => {
    for (const what of ['undefined', 'null', 'a string'] as const) {
      it(`leaves its key free (${what})`, async () => {
        const bench = await Bench.open(setup);
        const gate = deferred();
        let runs = 0;
        const work = async () => {
          runs++;
          await gate.promise;
          throw THROWN[what];
        };
        await bench.worker(onceProcessor(work, { key: 'k', holdThroughRetries: true }));
        await bench.add('first');
        await until(() => runs === 1);
        const wasHeld = (await bench.holder('k')) !== undefined;

        gate.resolve();

        expect(wasHeld).to.equal(true);
        // Whatever BullMQ makes of the job.
        await until(async () => (await bench.holder('k')) === undefined);
        await bench.close();
      });
    }
  });
}
