/**
 * The rules of lines and places are written three times: in JavaScript, in Lua and in SQL. Random steps get the same answers from all of
 * them.
 */

import { expect } from 'chai';
import fc from 'fast-check';
import type { Redis } from 'ioredis';
import pg from 'pg';
import type {
  EnterResult,
  LeaveResult,
  LineKind,
  LineRecord,
  LockCache,
  LockRecord,
} from '../../src/cache/contract.ts';
import { KeyValueCache } from '../../src/cache/key-value.ts';
import { MemoryCache } from '../../src/cache/memory.ts';
import { PostgresCache } from '../../src/cache/postgres/postgres-cache.ts';
import { RedisCache } from '../../src/cache/redis/redis-cache.ts';
import { connectRedis, uniqueName } from '../support/index.ts';
import { sharedPostgres } from '../support/shared-servers.ts';

const RUNS = Number(process.env.SAME_RULES_RUNS ?? 150);
const TTL = 3_600_000;

/** Numbered by their queue; named by their producer; of another queue; with a time ahead; no job's. */
const OWNERS = [
  'bull:emails:1@100',
  'bull:emails:2@100',
  'bull:emails:3@90',
  'bull:emails:x@95',
  'bull:emails:y@95',
  'bull:other:1@94',
  `bull:emails:4@${Date.now() + 86_400_000}`,
  `bull:emails:ahead@${Date.now() + 86_400_000}`,
  'bull:emails:%3A-*[(.^@50',
  '","owner":"bull:emails:1@100","fence":1,"',
  'me\n\\',
];
const owner = fc.constantFrom(...OWNERS);
/** The number of the acquisition whose token is used, counted back from the last one. */
const back = fc.nat(4);

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      verb: fc.constant('enter' as const),
      owner,
      attempt: fc.nat(3),
      places: fc.constantFrom(1, 1, 2, 3),
      joins: fc.constantFrom(true, true, true, false),
      notify: fc.boolean(),
      match: fc.constantFrom(undefined, undefined, undefined, 'x', 'y'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ verb: fc.constant('again' as const), back }) },
  { weight: 1, arbitrary: fc.record({ verb: fc.constant('acquire' as const), owner, attempt: fc.nat(3) }) },
  { weight: 1, arbitrary: fc.record({ verb: fc.constant('renew' as const), back }) },
  {
    weight: 5,
    arbitrary: fc.record({
      verb: fc.constant('leave' as const),
      back,
      dedupeFor: fc.constantFrom(0, 0, 0, TTL),
      reservation: fc.option(fc.constant({ dueIn: TTL, lastsFor: 2 * TTL }), { nil: undefined, freq: 3 }),
      result: fc.constantFrom(
        undefined,
        { text: '["\\u0000\0"]', bytes: 11 },
        { text: 'r', bytes: 0 },
        { text: '{"match":"x","by":"me"}', bytes: 0 },
        { text: '{"match":"y","value":1}', bytes: 1 },
      ),
    }),
  },
  { weight: 1, arbitrary: fc.record({ verb: fc.constant('release' as const), back }) },
  { weight: 1, arbitrary: fc.record({ verb: fc.constant('strike' as const), owner }) },
  { weight: 1, arbitrary: fc.record({ verb: fc.constant('force' as const), back: fc.option(back) }) },
);
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;

interface Acquisition {
  readonly token: string;
  readonly owner: string;
  readonly attempt: number;
  readonly places: number;
  readonly joins: boolean;
  readonly match: string | undefined;
  readonly fence: number;
}

/** Plays steps on one key of a cache, and says what was answered: without times, tokens and fences, which differ. */
class Player {
  readonly #cache: Required<LockCache>;
  readonly #storedKey: string;
  readonly #line: LineKind | undefined;
  readonly #acquisitions: Acquisition[] = [];

  constructor(cache: LockCache, storedKey: string, line: LineKind | undefined) {
    this.#cache = cache as Required<LockCache>;
    this.#storedKey = storedKey;
    this.#line = line;
  }

  async play(steps: readonly Step[]): Promise<unknown[]> {
    const answers: unknown[] = [];
    for (const one of steps) answers.push([one, await this.#step(one), await this.#lookAtAll()]);
    return answers;
  }

  async #step(one: Step): Promise<unknown> {
    const storedKey = this.#storedKey;
    const asked = () => ({ storedKey, token: uniqueName('t'), ttl: TTL });
    if (one.verb === 'enter') return this.#enter({ ...one, token: uniqueName('t') });
    if (one.verb === 'strike') return this.#cache.strikeOut([{ storedKey, owner: one.owner }]);
    if (one.verb === 'acquire') {
      const [result] = (await this.#cache.acquire([{ ...asked(), ...one }])) as [EnterResult];
      // It may hold the key from now on, and nobody gives it back.
      await this.#cache.forceRelease([{ storedKey, fence: result.acquired ? result.fence : 0 }]);
      return result.acquired ? { reclaimed: result.reclaimed } : { refusedBy: described(result.record) };
    }
    const acquired = one.back === null ? undefined : this.#acquisitions.at(-1 - one.back);
    if (one.verb === 'force') return this.#cache.forceRelease([{ storedKey, fence: acquired?.fence }]);
    if (!acquired) return undefined;
    if (one.verb === 'again') return this.#enter({ ...acquired, notify: false });
    const held = { storedKey, token: acquired.token };
    if (one.verb === 'renew') return this.#cache.renew([{ ...held, ttl: TTL }]);
    if (one.verb === 'release')
      return acquired.places > 1 ? undefined : this.#cache.release([{ ...held, dedupeFor: 0 }]);
    const { dedupeFor, reservation } = one;
    // The line 'together' has one place.
    const places = this.#line === 'together' ? 1 : acquired.places;
    const isKept = !reservation && (dedupeFor > 0 || this.#line === 'together');
    const result = isKept ? { result: one.result } : {};
    const more = { places, line: this.#line, rememberFor: TTL, ...result };
    const [left] = (await this.#cache.leave([{ ...held, dedupeFor, reservation, ...more }])) as [LeaveResult];
    return { ...left };
  }

  async #enter(asked: Omit<Acquisition, 'fence'> & { readonly notify: boolean }): Promise<unknown> {
    const rest = { storedKey: this.#storedKey, ttl: TTL, line: this.#line, interrupts: false };
    const places = this.#line === 'together' ? 1 : asked.places;
    const [result] = (await this.#cache.enter([{ ...asked, ...rest, places }])) as [EnterResult];
    if (!result.acquired) return { refusedBy: described(result.record), standing: { ...result.standing } };
    const before = Math.max(...this.#acquisitions.map(({ fence }) => fence));
    const isAgain = this.#acquisitions.find(({ token }) => token === asked.token);
    if (!isAgain) expect(result.fence, 'the fence rises').to.be.above(before);
    this.#acquisitions.push({ ...asked, fence: result.fence });
    const { reclaimed, next } = result;
    return { reclaimed, next, sameFence: isAgain?.fence === result.fence };
  }

  async #lookAtAll(): Promise<unknown[]> {
    const storedKey = this.#storedKey;
    const lines = await this.#cache.lines(OWNERS.map(one => ({ storedKey, owner: one })));
    const [record] = await this.#cache.inspect([storedKey]);
    const [result] = await this.#cache.results([storedKey]);
    return [described(record), result, lines.map(line => ({ ...(line as LineRecord) }))];
  }
}

/** As JSON, a field that is `undefined` is a field that is not there. */
function toJson(answers: unknown): string {
  return JSON.stringify(answers, undefined, 1);
}

function described(record: LockRecord | undefined): object | undefined {
  if (!record) return undefined;
  const { state, owner, attempt, match, resultBytes } = record;
  return { state, owner, attempt, match, resultBytes };
}

describe('The rules of lines and places', () => {
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

  for (const line of ['all', 'newest', 'together', undefined] as const) {
    it(`are the same in JavaScript, in Lua and in SQL (line: ${line})`, async function () {
      this.timeout(240_000);
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 16 }), async steps => {
          const storedKey = `once::1:${uniqueName()}:a`;
          const play = (cache: LockCache, some = steps) => new Player(cache, storedKey, line).play(some);
          const expected = toJson(await play(new MemoryCache()));
          for (const cache of [new RedisCache(redis), new PostgresCache(pool)]) {
            expect(toJson(await play(cache))).to.equal(expected);
          }
          // On a plain store those with one place do not see the others'.
          const shared = steps.filter(({ verb }) => verb !== 'acquire' && verb !== 'release');
          const inMemory = toJson(await play(new MemoryCache(), shared));
          expect(toJson(await play(new KeyValueCache(new Map()), shared))).to.equal(inMemory);
        }),
        { numRuns: RUNS },
      );
    });
  }
});
