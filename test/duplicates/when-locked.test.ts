/** The option `whenLocked` as it is written: its forms, and `raiseIfLock` beside them. */

import { inspect } from 'node:util';
import { expect } from 'chai';
import {
  type LockCache,
  type LockEvent,
  MemoryCache,
  type OnceProcessorOptions,
  once,
  onceProcessor,
  type WhenLocked,
} from '../../src/index.ts';
import { plainJob } from '../support/bullmq.ts';
import { deferred } from '../support/index.ts';

const fn = async () => {};
const show = (options: unknown) => inspect(options, { breakLength: Number.POSITIVE_INFINITY });

/** Each form, and what becomes of a duplicate. */
const forms: [WhenLocked, string][] = [
  ['skip', 'skipped'],
  ['raise', 'raised'],
  [{ waitFor: 1 }, 'skipped'],
  [{ delay: 1000 }, 'delayed'],
  ['keep-last', 'parked'],
  ['share', 'parked'],
  [() => 'handled', 'handled'],
];

/** The event of a duplicate that finds its key held. */
async function outcomeOf(options: OnceProcessorOptions): Promise<LockEvent | undefined> {
  const events: LockEvent[] = [];
  const gate = deferred();
  const guarded = onceProcessor(() => gate.promise, {
    key: 'k',
    cache: new MemoryCache(),
    onEvent: event => events.push(event),
    ...options,
  });
  const first = guarded(plainJob('1'));
  await guarded(plainJob('2', { moveToDelayed: async () => {} })).catch(() => {});
  gate.resolve();
  await first;
  return events.find(({ jobId }) => jobId === '2');
}

describe('The option raiseIfLock', () => {
  for (const [whenLocked, outcome] of forms) {
    it(`changes nothing beside whenLocked if it is false (${show(whenLocked)})`, async () => {
      expect(await outcomeOf({ whenLocked, raiseIfLock: false })).to.include({ type: outcome });
      expect(await outcomeOf({ whenLocked })).to.include({ type: outcome });
    });
  }

  it('is short for whenLocked: raise if it is true', async () => {
    expect(await outcomeOf({ raiseIfLock: true })).to.include({ type: 'raised' });
    expect(await outcomeOf({ raiseIfLock: false })).to.include({ type: 'skipped' });
  });

  for (const whenLocked of ['raise', { waitFor: 1 }] as const) {
    it(`may be true beside a form that can raise (${show(whenLocked)})`, async () => {
      expect(await outcomeOf({ whenLocked, raiseIfLock: true })).to.include({ type: 'raised' });
    });
  }

  for (const [whenLocked, shown] of [
    ['skip', "'skip'"],
    [{ delay: 1000 }, 'an object with delay'],
    ['keep-last', "'keep-last'"],
    ['share', "'share'"],
    [() => 'handled', 'a function'],
  ] as const) {
    it(`contradicts a form that never raises if it is true (${show(whenLocked)})`, () => {
      expect(() => onceProcessor(fn, { whenLocked, raiseIfLock: true } as never)).to.throw(
        TypeError,
        `onceProcessor: options 'raiseIfLock: true' and 'whenLocked: ${shown}' contradict each other, leave one out`,
      );
    });
  }
});

describe('The option whenLocked', () => {
  for (const [whenLocked, problem] of [
    ['wait', /'whenLocked' must be 'skip', 'raise', .* or 'share', not 'wait'/],
    [{}, /option 'whenLocked' must be .* not an object/],
    [
      { delay: 0 },
      /option 'whenLocked': option 'delay' must be .* 1 or more, or 'holder', or a function .* not 0/,
    ],
    [
      { delay: 5, limit: -1 },
      /option 'whenLocked': option 'limit' must be a whole number, 0 or more, not -1/,
    ],
    [
      { delay: 5, waitFor: 5 },
      /option 'whenLocked' can't have 'delay' beside 'waitFor'; there are: waitFor$/,
    ],
    [{ waitFor: -1 }, /option 'whenLocked': option 'waitFor' must be .* not -1/],
  ] as const) {
    it(`throws a TypeError where it is written if it has no valid form (${show(whenLocked)})`, () => {
      expect(() => onceProcessor(fn, { whenLocked } as never)).to.throw(TypeError, problem);
    });
  }

  it('takes of a function only what a function can do', () => {
    const cache = new MemoryCache();

    expect(() => once(fn, { key: 'k', cache, whenLocked: 'keep-last' as never })).to.throw(
      TypeError,
      "once: option 'whenLocked' must be 'skip', 'raise', 'share', { waitFor: ms } or a function, not 'keep-last'",
    );
  });

  it("takes 'keep-last' only with a cache that has lines", () => {
    const cache = { acquire() {}, renew() {}, release() {}, inspect() {} } as never as LockCache;

    expect(() => onceProcessor(fn, { cache, whenLocked: 'keep-last' })).to.throw(
      TypeError,
      "onceProcessor: option 'whenLocked' needs a cache with the method 'enter', and the option 'cache' has none",
    );
  });
});
