/**
 * Input that may do harm, by accident or not: through keys into every kind of cache. It leads to a clear error or to the right
 * lock: never to a wrong one, never to another's key, and to nothing in the datastore that is not a lock.
 */

import { isDeepStrictEqual } from 'node:util';
import { expect } from 'chai';
import fc from 'fast-check';
import { Lock, type LockCache, once } from '../../src/index.ts';
import { boundOwner } from '../../src/key/owner-id.ts';
import { deferred, rejection } from '../support/index.ts';
import { checkEach, type Target } from './targets.ts';

/** Strings that mean something to Redis, Lua, SQL, JSON, patterns, or to the names and records of locks. */
const HOSTILE = [
  ...['', ' ', '\0', '\u0000k', 'a\r\nDEL k\r\n', '*1\r\n$8\r\nFLUSHALL\r\n', '\x7f', '\u2028', '\ufeff'],
  ...[
    "'; DROP TABLE bullmq.once_lock; --",
    "$1', '$2",
    '$once$',
    '\\',
    "\\'",
    "E'\\x00'",
    '%s',
    '%',
    '%%',
    '%1',
  ],
  ...[
    ']]',
    '[[',
    '") redis.call("FLUSHALL") --',
    '.*',
    '^$',
    '(%d+)',
    '[%w',
    '*',
    '?',
    '{bull}',
    '{}',
    '{',
    '}',
  ],
  ...['"', '","fence":1', '","attempt":9,"owner":"x","fence":9,"since":9}', '{"once":1,"state":"running"}'],
  ...[':', '::', '::once:1:', 'once::1:default:k', '__proto__', 'constructor', 'hasOwnProperty', 'toString'],
  ...[
    '\ud83d',
    '\ude00',
    '\ud83d\ude00',
    'é',
    'e\u0301',
    '\u202e',
    'İ',
    'ß',
    '１',
    'undefined',
    'null',
    'NaN',
    '-0',
  ],
];

const anyString = fc.oneof(
  fc.constantFrom(...HOSTILE),
  fc.string({ unit: 'binary', maxLength: 20 }),
  fc.array(fc.constantFrom(...HOSTILE), { maxLength: 4 }).map(parts => parts.join('')),
  fc
    .tuple(fc.constantFrom(...HOSTILE), fc.string({ maxLength: 3 }))
    .map(([part, end]) => part.repeat(200) + end),
);

/** A string that a key can be. */
export const keyString: fc.Arbitrary<string> = anyString.filter(one => one !== '' && one.isWellFormed());

/** What can come as a job's data, or as an argument of a guarded function. */
export const data: fc.Arbitrary<unknown> = fc.oneof(
  anyString,
  fc.anything({
    key: anyString,
    values: [
      anyString,
      fc.integer(),
      fc.double(),
      fc.boolean(),
      fc.constantFrom(null, undefined),
      fc.bigInt(),
    ],
    maxDepth: 4,
    withDate: true,
    withMap: true,
    withSet: true,
    withTypedArray: true,
    withNullPrototype: true,
    withSparseArray: true,
    withObjectString: true,
  }),
);

export const keyPairs: fc.Arbitrary<readonly [string, string]> = fc.oneof(
  fc.tuple(keyString, keyString),
  keyString.map(one => [one, one] as const),
  fc.tuple(keyString, keyString).map(([one, other]) => [one, one + other] as const),
);

const dataPairs: fc.Arbitrary<readonly [unknown, unknown]> = fc.oneof(
  fc.tuple(data, data),
  data.map(one => [one, one] as const),
  fc.tuple(data, data).map(
    ([one, other]) =>
      [
        { one, other },
        { other, one },
      ] as const,
  ),
  anyString.map(one => [one, { [one]: one }] as const),
  fc.oneof(fc.integer(), fc.double(), fc.boolean(), fc.bigInt()).map(one => [one, String(one)] as const),
);

/** What no random choice makes, or can print. */
const EXTREMES: readonly unknown[] = [
  nested(400, leaf => ({ leaf })),
  nested(100_000, leaf => [leaf]),
  nested(100_000, leaf => ({ leaf })),
  cyclic(),
  JSON.parse('{"__proto__":{"a":1}}'),
  JSON.parse('{"__proto__":{"a":2}}'),
  Object.create({ a: 1 }),
  Object.create(null),
  { a: { toString: () => 'x' } },
  { a: { toJSON: () => 'x' } },
  new Proxy({ a: 1 }, {}),
  new Proxy({}, { ownKeys: refuse, getPrototypeOf: refuse, getOwnPropertyDescriptor: refuse }),
  thrower(),
  'x'.repeat(2 ** 20),
  `${'x'.repeat(2 ** 20)}y`,
  '\0'.repeat(2 ** 20),
  '%'.repeat(2 ** 20),
  '\ud83d\ude00'.repeat(2 ** 18),
  Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`f${i}`, i])),
  Symbol('s'),
  () => 1,
  new Error('data'),
];

function nested(depth: number, around: (leaf: unknown) => unknown): unknown {
  let value: unknown = 1;
  for (let i = 0; i < depth; i++) value = around(value);
  return value;
}

function cyclic(): unknown {
  const value: Record<string, unknown> = { a: 1 };
  value.self = value;
  return value;
}

function thrower(): unknown {
  return Object.defineProperty({}, 'a', {
    enumerable: true,
    get() {
      throw new Error('not to be read');
    },
  });
}

function refuse(): never {
  throw new Error('not to be looked at');
}

/** The checks, which take a number of random choices. They reject with what fast-check found. */
export const CHECKS: Record<string, (targets: readonly Target[], choices: fc.Parameters) => Promise<void>> = {
  'gives each key its own lock (as keys, owners and scopes)': (targets, choices) =>
    fc.assert(
      fc.asyncProperty(keyPairs, keyString, keyString, (both, owner, scope) =>
        checkEach(targets, cache => checkKeys(cache, both, owner, scope)),
      ),
      choices as never,
    ),
  'gives a clear error, or the lock of that argument and no other (as an argument)': (targets, choices) =>
    fc.assert(
      fc.asyncProperty(dataPairs, both => checkEach(targets, cache => checkData(cache, both))),
      choices as never,
    ),
  'gives a clear error, or the lock of that argument and no other (values that no random choice makes)':
    async targets => {
      for (const [i, one] of EXTREMES.entries()) {
        for (const other of [one, EXTREMES[i + 1], { a: one }]) {
          await checkEach(targets, cache => checkData(cache, [one, other]));
        }
      }
    },
};

/** Two locks on such strings, of such an owner and scope: each is its own, and says who holds it. */
async function checkKeys(
  cache: LockCache,
  [one, other]: readonly [string, string],
  owner: string,
  scope: string,
): Promise<void> {
  const first = await new Lock(one, { cache, owner, scope }).acquire();
  const refused = await rejection(new Lock(one, { cache, scope }).acquire());
  const second = await new Lock(other, { cache, scope }).tryAcquire();
  const released = [await first.release(), await first.release()];
  await second?.release();

  expect(refused).to.include({ code: 'ERR_LOCK_HELD' });
  expect(refused.holder).to.include({ owner: boundOwner(owner), state: 'running', fence: first.fence });
  expect(second !== undefined).to.equal(one !== other);
  expect(released).to.deep.equal([true, false]);
}

/** Two calls of a guarded function with such arguments: one is skipped where the two are equal, and only there. */
async function checkData(cache: LockCache, [one, other]: readonly [unknown, unknown]): Promise<void> {
  const gate = deferred();
  const guarded = once((_: unknown) => gate.promise.then(() => 'ran'), { cache, key: 'd-{0}' });
  const calls = [one, other].map(async argument => {
    try {
      return await guarded(argument);
    } catch (error) {
      return error as Error;
    }
  });
  // A call that is skipped has been skipped when a third has run, which asked for its key later.
  await once(() => {}, { cache, key: 'after both' })();
  gate.resolve();
  const outcomes = await Promise.all(calls);

  const errors = outcomes.filter(outcome => outcome instanceof Error);
  for (const error of errors) expect(error).to.include({ code: 'ERR_LOCK_KEY' });
  if (errors.length > 0) return;
  expect(outcomes).to.have.members(isSame(one, other) ? ['ran', undefined] : ['ran', 'ran']);
}

/** Whether two data have the same key: as in JSON, except for values that have no form in JSON. */
function isSame(one: unknown, other: unknown): boolean {
  return isDeepStrictEqual(plain(one), plain(other));
}

function plain(value: unknown): unknown {
  if (value === 0) return 0;
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(plain);
  // A map, because an object can have a field of any name but '__proto__'.
  return new Map(
    Object.entries(value)
      .filter(([, field]) => field !== undefined)
      .map(([name, field]) => [name, plain(field)]),
  );
}
