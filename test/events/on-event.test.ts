import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { runInNewContext } from 'node:vm';
import { expect } from 'chai';
import sinon from 'sinon';
import { Lock, type LockEvent, MemoryCache, once, onceProcessor } from '../../src/index.ts';
import { plainJob } from '../support/bullmq.ts';
import { deferred, until } from '../support/index.ts';

describe("The option 'onEvent'", () => {
  it('is called with the events of the locks that it was given for, and of no others', async () => {
    const cache = new MemoryCache();
    const seen: string[] = [];
    const onEvent = ({ type, key }: LockEvent) => seen.push(`${type} ${key}`);
    const gate = deferred();
    const guarded = once((_id: number) => gate.promise, { key: 'k-{0}', cache, onEvent });

    const first = guarded(1);
    await guarded(1);
    await new Lock('other', { cache }).run(() => {});
    gate.resolve();
    await first;

    expect(seen).to.deep.equal(['acquired k-1', 'skipped k-1', 'released k-1']);
  });

  it('must be a function', () => {
    expect(() => new Lock('k', { onEvent: 'log' as never })).to.throw(
      TypeError,
      "Lock: option 'onEvent' must be a function, not 'log'",
    );
  });

  describe('that fails', () => {
    const warnings: string[] = [];
    const record = (warning: Error) => void warnings.push(warning.message);
    let minutes = 0;
    beforeEach(() => {
      warnings.length = 0;
      process.on('warning', record);
      // There is at most one such warning a minute.
      const start = performance.now();
      sinon.useFakeTimers({ toFake: ['performance'] }).tick(start + 120_000 * ++minutes);
    });
    afterEach(() => {
      sinon.restore();
      process.off('warning', record);
    });

    const unprintable = {
      toString() {
        throw new Error('no string form');
      },
    };
    const thrown: Record<string, readonly [value: unknown, described: string]> = {
      'an Error': [new Error('oh'), 'Error: oh'],
      'a Symbol': [Symbol('oh'), 'Symbol(oh)'],
      null: [null, 'null'],
      undefined: [undefined, 'undefined'],
      'an object without a prototype': [Object.create(null), 'a value that has no string form'],
      'an object whose toString throws': [unprintable, 'a value that has no string form'],
    };
    const failures: Record<string, (value: unknown) => LockEventCallback> = {
      throws: value => () => {
        throw value;
      },
      'rejects with': value => async () => {
        throw value;
      },
    };

    for (const [how, callback] of Object.entries(failures)) {
      for (const [what, [value, described]] of Object.entries(thrown)) {
        it(`harms no work, and becomes a warning (it ${how} ${what})`, async () => {
          const guarded = once(() => 'ran', { key: 'k', cache: new MemoryCache(), onEvent: callback(value) });

          const results = [await guarded(), await guarded()];
          await new Promise(setImmediate);

          expect(results).to.deep.equal(['ran', 'ran']);
          expect(warnings).to.deep.equal([`an onEvent callback failed on 'acquired': ${described}`]);
        });

        it(`harms no job (it ${how} ${what})`, async () => {
          const options = { key: 'k', cache: new MemoryCache(), onEvent: callback(value) };
          const processor = onceProcessor(() => 'ran', options);

          expect([await processor(plainJob('1')), await processor(plainJob('2'))]).to.deep.equal([
            'ran',
            'ran',
          ]);
        });
      }
    }

    it('harms no work, and becomes a warning (it rejects with a promise of another realm, as in Jest)', async () => {
      const onEvent = () => runInNewContext("Promise.reject(new Error('elsewhere'))");
      const guarded = once(() => 'ran', { key: 'k', cache: new MemoryCache(), onEvent });

      expect(await guarded()).to.equal('ran');
      await new Promise(setImmediate);

      expect(warnings).to.deep.equal(["an onEvent callback failed on 'acquired': Error: elsewhere"]);
    });

    it('harms no work, and becomes a warning (what it returns throws when it is looked at)', async () => {
      const hostile = {
        // biome-ignore lint/suspicious/noThenProperty: a value that looks like a promise is the subject.
        get then() {
          throw new Error('do not look');
        },
      };
      const guarded = once(() => 'ran', { key: 'k', cache: new MemoryCache(), onEvent: () => hostile });

      expect(await guarded()).to.equal('ran');
      await new Promise(setImmediate);

      expect(warnings).to.deep.equal(["an onEvent callback failed on 'acquired': Error: do not look"]);
    });
  });
});

describe('A subscriber of a diagnostics channel', () => {
  it('harms no work when it throws: Node reports its error', async () => {
    const uncaught: unknown[] = [];
    const others = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.on('uncaughtException', error => uncaught.push(error));
    const throws = () => {
      throw new Error('a bad subscriber');
    };
    subscribe('bullmq-once:acquired', throws);
    const guarded = once(async () => 'ran', { key: 'k', cache: new MemoryCache() });

    const results = [await guarded(), await guarded()];
    await until(() => uncaught.length === 2);
    unsubscribe('bullmq-once:acquired', throws);
    process.removeAllListeners('uncaughtException');
    for (const other of others) process.on('uncaughtException', other);

    expect(results).to.deep.equal(['ran', 'ran']);
    expect(String(uncaught[0])).to.equal('Error: a bad subscriber');
  });
});

type LockEventCallback = (event: LockEvent) => unknown;
