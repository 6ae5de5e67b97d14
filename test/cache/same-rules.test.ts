/**
 * The rules of locks are written three times: in JavaScript, in Lua and in SQL. Random steps get the same answers from all of
 * them.
 */

import { expect } from 'chai';
import fc from 'fast-check';
import type { Redis } from 'ioredis';
import pg from 'pg';
import type { AcquireResult, LockCache, LockRecord } from '../../src/cache/contract.ts';
import { KeyValueCache } from '../../src/cache/key-value.ts';
import { MemoryCache } from '../../src/cache/memory.ts';
import { PostgresCache } from '../../src/cache/postgres/postgres-cache.ts';
import { RedisCache } from '../../src/cache/redis/redis-cache.ts';
import { connectRedis, uniqueName } from '../support/index.ts';
import { sharedPostgres } from '../support/shared-servers.ts';

const RUNS = Number(process.env.SAME_RULES_RUNS ?? 150);
const TTL = 3_600_000;

const key = fc.constantFrom('a', 'b', '{b}');
const owner = fc.constantFrom(
  'me',
  'you',
  '","owner":"you","fence":1,"',
  'me\n\\',
  'bull:emails:17@1',
  '%1-+*?[^$(.)',
);
/** The number of the acquisition whose token is used, counted back from the last one. */
const back = fc.nat(4);

/** What is kept of a result, with a NUL and characters that are escaped. */
const result = fc.constantFrom(undefined, { text: '["\\u0000\0"]', bytes: 11 }, { text: 'r', bytes: 1 });

const step = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      verb: fc.constant('acquire' as const),
      key,
      owner,
      attempt: fc.nat(3),
      notify: fc.boolean(),
      match: fc.constantFrom(undefined, undefined, 'x', 'y"'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ verb: fc.constant('again' as const), back }) },
  { weight: 2, arbitrary: fc.record({ verb: fc.constant('renew' as const), back }) },
  {
    weight: 4,
    arbitrary: fc.record({
      verb: fc.constant('release' as const),
      back,
      dedupeFor: fc.constantFrom(0, 0, TTL),
      reservation: fc.option(
        fc.constantFrom({ dueIn: 0, lastsFor: TTL }, { dueIn: TTL, lastsFor: 2 * TTL }),
        {
          nil: undefined,
          freq: 3,
        },
      ),
      result,
    }),
  },
  { weight: 1, arbitrary: fc.record({ verb: fc.constant('force' as const), key, back: fc.option(back) }) },
);
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;

/** Values that no lock wrote, or a lock of another version. */
const FOREIGN = [
  '{"once":2,"state":"running","token":"t","ttl":9,"attempt":0,"owner":"me","fence":1,"since":1}',
  '{"once":1,"state":"running","token":"t","ttl":9,"attempt":0,"owner":"me","fence":99007199254740993,"since":1}',
  '{"once":1,"state":"resting","token":"t","ttl":9,"attempt":0,"owner":"me","fence":1,"since":1}',
  '{"once":1,"state":"running"}',
  '{"once":1,',
  'a string',
  '',
];

interface Acquisition {
  readonly storedKey: string;
  readonly token: string;
  readonly owner: string;
  readonly attempt: number;
  readonly fence: number;
}

/** Plays steps on one cache, and says what was answered: without times, tokens and fences, which differ. */
class Player {
  readonly #cache: LockCache;
  readonly #prefix: string;
  readonly #acquisitions: Acquisition[] = [];

  constructor(cache: LockCache, prefix: string) {
    this.#cache = cache;
    this.#prefix = prefix;
  }

  async play(steps: readonly Step[]): Promise<unknown[]> {
    const answers: unknown[] = [];
    for (const one of steps) {
      answers.push([one, await this.#step(one), await this.#inspectAll()]);
    }
    return answers;
  }

  async #step(one: Step): Promise<unknown> {
    if (one.verb === 'acquire') {
      const { owner, attempt, notify, match } = one;
      return this.#acquire({
        storedKey: this.#name(one.key),
        token: uniqueName('t'),
        owner,
        attempt,
        notify,
        match,
      });
    }
    if (one.verb === 'force') {
      const fence = one.back === null ? undefined : this.#acquired(one.back)?.fence;
      return this.#cache.forceRelease?.([{ storedKey: this.#name(one.key), fence }]);
    }
    const acquired = this.#acquired(one.back);
    if (!acquired) return undefined;
    if (one.verb === 'again') return this.#acquire(acquired);
    if (one.verb === 'renew') return this.#cache.renew([{ ...acquired, ttl: TTL }]);
    const { dedupeFor, reservation } = one;
    const kept = dedupeFor > 0 && !reservation ? { result: one.result } : {};
    return this.#cache.release([{ ...acquired, dedupeFor, reservation, ...kept }]);
  }

  async #acquire(asked: {
    storedKey: string;
    token: string;
    owner: string;
    attempt: number;
    notify?: boolean;
    match?: string | undefined;
  }): Promise<unknown> {
    const [result] = (await this.#cache.acquire([{ ...asked, ttl: TTL }])) as [AcquireResult];
    if (!result.acquired) return { refusedBy: described(result.record) };
    const before = this.#acquisitions.findLast(({ storedKey }) => storedKey === asked.storedKey);
    const isAgain = before?.token === asked.token;
    if (before && !isAgain) expect(result.fence, 'the fence rises').to.be.above(before.fence);
    this.#acquisitions.push({ ...asked, fence: result.fence });
    return { reclaimed: result.reclaimed, sameFence: isAgain && before.fence === result.fence };
  }

  async #inspectAll(): Promise<unknown[]> {
    const names = ['a', 'b', '{b}'].map(one => this.#name(one));
    const records = await this.#cache.inspect(names);
    const results = await this.#cache.results?.(names);
    return records.map((record, i) => [record && described(record), results?.[i]]);
  }

  #acquired(back: number): Acquisition | undefined {
    return this.#acquisitions.at(-1 - back);
  }

  #name(one: string): string {
    return `once::1:${this.#prefix}:${one}`;
  }
}

function described({ state, owner, attempt, dueIn, expiresIn, match, resultBytes }: LockRecord): object {
  const isSoon = (ms: number | undefined) => ms !== undefined && ms > TTL / 2;
  return {
    state,
    owner,
    attempt,
    due: dueIn === undefined ? undefined : isSoon(dueIn),
    long: isSoon(expiresIn - TTL),
    match,
    resultBytes,
  };
}

describe('The rules of locks', () => {
  let redis: Redis;
  let pool: pg.Pool;
  before(async () => {
    redis = connectRedis();
    pool = new pg.Pool({ connectionString: (await sharedPostgres()).url, max: 2 });
  });
  after(async () => {
    redis.disconnect();
    await pool.end();
  });

  it('are the same in JavaScript, in Lua and in SQL', async function () {
    this.timeout(240_000);
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 14 }), async steps => {
        const prefix = uniqueName();
        const caches: LockCache[] = [
          new MemoryCache(),
          new KeyValueCache(new Map()),
          new RedisCache(redis),
          new PostgresCache(pool),
        ];
        const [expected, ...others] = await Promise.all(
          caches.map(cache => new Player(cache, prefix).play(steps)),
        );
        for (const answers of others) expect(answers).to.deep.equal(expected);
      }),
      { numRuns: RUNS },
    );
  });

  for (const value of FOREIGN) {
    it(`treat a value of another program or version alike: ${JSON.stringify(value).slice(0, 40)}`, async () => {
      const prefix = uniqueName();
      const storedKey = `once::1:${prefix}:a`;
      const store = new Map([[storedKey, value]]);
      await redis.set(storedKey, value, 'PX', TTL);
      const step = { storedKey, token: 't', owner: 'me', attempt: 0, ttl: TTL };

      for (const cache of [new KeyValueCache(store), new RedisCache(redis)]) {
        const acquired = await Promise.all([
          cache.acquire([step]),
          cache.acquire([{ ...step, token: 'u', attempt: 7, notify: true }]),
        ]);
        for (const [result] of acquired) {
          expect(result).to.have.nested.property('record.state', 'foreign');
        }
        expect((await cache.inspect([storedKey]))[0]?.state).to.equal('foreign');
        expect(await cache.forceRelease([{ storedKey }])).to.deep.equal([false]);
      }
      expect([store.get(storedKey), await redis.get(storedKey)]).to.deep.equal([value, value]);
    });
  }
});
