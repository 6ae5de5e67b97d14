/** Options of `onceProcessor` that are wrong, or that can hardly be meant. */

import { inspect } from 'node:util';
import { expect } from 'chai';
import { whyNotRetried } from '../../src/bullmq/config-warnings.ts';
import { onceProcessor } from '../../src/index.ts';
import { Child, type Message } from '../support/child.ts';
import { redisOptions, uniqueName } from '../support/index.ts';

describe('An option of onceProcessor that is wrong', () => {
  const fn = async () => {};
  for (const [options, problem] of [
    [{ ket: 'x' }, /no option 'ket'; there are: .*key/],
    [{ key: 42 }, /option 'key' must be a template .* or a function of the job, not 42/],
    [{ key: 'k-{' }, /is never closed/],
    [{ raiseIfLock: 'yes' }, /'raiseIfLock' must be true or false, not 'yes'/],
    [{ ttl: 0 }, /'ttl' must be a whole number of milliseconds, 10 or more, not 0/],
    [{ ttl: -5 }, /'ttl'/],
    [{ ttl: 1.5 }, /'ttl'/],
    [{ ttl: Number.POSITIVE_INFINITY }, /'ttl'/],
    [{ ttl: '30s' }, /'ttl' must be .* not '30s'/],
    [{ dedupeFor: -1 }, /'dedupeFor' must be a whole number of milliseconds, 0 or more, not -1/],
    [{ maxHold: 9 }, /'maxHold' must be a whole number of milliseconds, 10 or more, not 9/],
    [{ maxHold: '1m' }, /'maxHold' must be .* not '1m'/],
    [{ scope: '' }, /'scope' must be a string that is not empty/],
    [{ onCacheError: 'skip' }, /'onCacheError' must be 'raise' or 'run', not 'skip'/],
    [{ holdThroughRetries: 1 }, /'holdThroughRetries' must be true or false, not 1/],
    [{ logToJob: 1 }, /'logToJob' must be true or false, not 1/],
    [
      { cache: { get() {}, set() {} } },
      /option 'cache': a store needs get, set and delete .* has no delete \(or del\)/,
    ],
    [{ cache: { acquire() {}, renew() {} } }, /option 'cache': the lock cache has no release, no inspect/],
    [{ cache: null }, /option 'cache' must be a cache, not null/],
    [{ cache: 7 }, /option 'cache' must be a cache, not 7/],
    [
      { cache: 'redis://:secret@h:1' },
      /^[^@]*must be a cache or the name of one, not a URL; give new RedisCache/,
    ],
    ['k-{id}', /the options must be an object/],
  ] as const) {
    it(`throws a TypeError where it is written (${inspect(options, { breakLength: Infinity })})`, () => {
      expect(() => onceProcessor(fn, options as never)).to.throw(TypeError, problem);
    });
  }
});

describe('The processor of onceProcessor', () => {
  for (const [processor, shown] of [
    ['./processor.js', "'./processor.js'"],
    [undefined, 'undefined'],
  ]) {
    it(`must be a function (${shown})`, () => {
      expect(() => onceProcessor(processor as never, {})).to.throw(
        TypeError,
        `onceProcessor: the processor must be a function, not ${shown}`,
      );
    });
  }
});

describe('The decorator @onceProcessor', () => {
  it('throws a TypeError where its options are written', () => {
    expect(() => onceProcessor({ key: '{' } as never)).to.throw(TypeError, 'is never closed');
  });

  it('throws a TypeError if it decorates anything but a method', () => {
    const decorate = onceProcessor({ key: 'k' }) as unknown as (...args: unknown[]) => unknown;

    expect(() => decorate(undefined, { kind: 'field' })).to.throw(
      TypeError,
      '@onceProcessor decorates methods',
    );
  });
});

describe('An option of onceProcessor that can hardly be meant', () => {
  /** The warnings of a process that runs jobs with these settings. */
  const warningsOf = async (settings: object): Promise<Message[]> => {
    const orders = { connection: redisOptions(), queueName: uniqueName('queue'), options: {}, ...settings };
    const child = new Child('mistakes.ts', orders);
    await child.message('ended');
    await child.ended();
    return child.messagesOf('warning');
  };

  it('causes one warning a process (a ttl far below the lockDuration)', async () => {
    const [warning, ...others] = await warningsOf({ options: { ttl: 1000 } });

    expect(warning).to.include({ code: 'ONCE_SHORT_TTL' });
    expect(warning?.message).to.match(/ttl is 1000 ms and the worker's lockDuration is 30000 ms/);
    expect(others).to.deep.equal([]);
  });

  it('causes one warning a process (locks in memory, in production)', async () => {
    const [warning, ...others] = await warningsOf({ inMemory: true, env: 'production' });

    expect(warning).to.include({ code: 'ONCE_IN_MEMORY' });
    expect(others).to.deep.equal([]);
  });

  it('causes one warning a process (a Lock in memory, in production)', async () => {
    const [warning, ...others] = await warningsOf({ lock: true, env: 'production' });

    expect(warning).to.include({ code: 'ONCE_LOCK_IN_MEMORY' });
    expect(others).to.deep.equal([]);
  });

  it('causes one warning a process (a maxHold below the ttl)', async () => {
    const [warning, ...others] = await warningsOf({ options: { maxHold: 5000 } });

    expect(warning).to.include({ code: 'ONCE_SHORT_MAX_HOLD' });
    expect(warning?.message).to.match(/maxHold is 5000 ms and the ttl 30000 ms/);
    expect(others).to.deep.equal([]);
  });

  for (const [jobOptions, problem] of [
    [{}, /^job \d of queue-.* has no attempts left: it is never run;/],
    [{ attempts: 3 }, /has no backoff: all its attempts are used up while its key is held;/],
  ] as const) {
    it(`causes one warning a process (raiseIfLock on jobs with ${inspect(jobOptions)})`, async () => {
      const [warning, ...others] = await warningsOf({ options: { key: 'k', raiseIfLock: true }, jobOptions });

      expect(warning).to.include({ code: 'ONCE_NO_RETRIES' });
      expect(warning?.message).to.match(problem);
      expect(others).to.deep.equal([]);
    });
  }

  it('causes a warning at the last attempt of a job (raiseIfLock)', () => {
    const [second, third] = [1, 2].map(attemptsMade =>
      whyNotRetried({ opts: { attempts: 3, backoff: 20 }, attemptsMade }),
    );

    expect(second).to.equal(undefined);
    expect(third).to.equal('has used up its 3 attempts while its key was held: it is never run');
  });

  it('causes no warning where it is meant (raiseIfLock on jobs with attempts and backoff)', async () => {
    const options = { key: 'k', raiseIfLock: true };
    expect(await warningsOf({ options, jobOptions: { attempts: 3, backoff: 20 } })).to.deep.equal([]);
  });

  it('causes no warning where it is meant (locks in memory, in a test)', async () => {
    expect(await warningsOf({ inMemory: true, env: 'test' })).to.deep.equal([]);
  });
});
