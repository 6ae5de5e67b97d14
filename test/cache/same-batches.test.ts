/**
 * The rules are written three times: in JavaScript, in Lua and in SQL. Random batches of steps on several keys, with leases that lapse
 * between them, get the same answers from all of them, and leave the same records. `SAME_BATCHES=10000` tries as many.
 */

import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import type { Redis } from 'ioredis';
import pg from 'pg';
import { exchangeWith } from '../../src/cache/batching/exchange.ts';
import { countSteps } from '../../src/cache/batching/split.ts';
import type {
  AcquireResult,
  AcquireStep,
  Batch,
  EnterResult,
  EnterStep,
  LeaveStep,
  LineKind,
  LockCache,
  LockRecord,
  ReleaseStep,
} from '../../src/cache/contract.ts';
import { MemoryCache } from '../../src/cache/memory.ts';
import { PostgresCache } from '../../src/cache/postgres/postgres-cache.ts';
import { RedisCache } from '../../src/cache/redis/redis-cache.ts';
import { Random } from '../faults/random.ts';
import { connectRedis, uniqueName } from '../support/index.ts';
import { sharedPostgres } from '../support/shared-servers.ts';

const BATCHES = Number(process.env.SAME_BATCHES ?? 1500);
const SEED = Number(process.env.SAME_BATCHES_SEED ?? Math.floor(Math.random() * 2 ** 32));
/** So many batches are played on the same keys. */
const BATCHES_A_STORY = 12;

const LONG = 3_600_000;
/** What lasts so long has lapsed when the next batch is played. */
const SHORT = 1;
/** The last owner of the newest is remembered for four ttl. */
const LAPSE_MS = 8;

interface Key {
  readonly name: string;
  readonly places: number;
  readonly line?: LineKind;
}

const PLAIN: Key = { name: 'plain', places: 1 };
const KEYS: readonly Key[] = [
  { name: 'in order', places: 1, line: 'all' },
  { name: 'in order, two at once', places: 2, line: 'all' },
  { name: 'newest', places: 1, line: 'newest' },
  { name: 'newest, {two} at once', places: 2, line: 'newest' },
  { name: 'three places', places: 3 },
];
/** Numbered by their queue; named by their producer; of another queue; with a time ahead; no job's. */
const OWNERS = [
  'bull:emails:1@100',
  'bull:emails:2@100',
  'bull:emails:3@90',
  'bull:emails:x@95',
  'bull:other:1@94',
  `bull:emails:4@${Date.now() + 86_400_000}`,
  'me\n\\","owner":"you',
];

interface Entry extends EnterStep {
  /** It is told of a place that is reserved after the one of this token: fences differ from cache to cache. */
  readonly behind?: string;
}

/** A batch, as it is sent to each cache. */
type BatchOf =
  | { readonly verb: 'enter'; readonly steps: readonly Entry[] }
  | { readonly verb: 'leave'; readonly steps: readonly LeaveStep[] }
  | ({ readonly verb: 'exchange' } & Batch)
  | { readonly verb: 'strikeOut'; readonly steps: readonly { storedKey: string; owner: string }[] }
  /** Without a fence whoever holds the key loses it. */
  | { readonly verb: 'forceRelease'; readonly storedKeys: readonly string[] };

const VERBS = [
  ...(['enter', 'enter', 'enter', 'leave', 'leave'] as const),
  ...(['exchange', 'exchange', 'strikeOut', 'forceRelease'] as const),
];

/** What was asked for under a token. */
interface Asked {
  readonly key: Key;
  readonly step: EnterStep | AcquireStep;
}

/** Makes batches that build on each other: they release, renew and repeat what was acquired before. */
class Story {
  readonly #random: Random;
  readonly #prefix = uniqueName();
  readonly #asked: Asked[] = [];
  #lapses = false;

  constructor(random: Random) {
    this.#random = random;
  }

  nameOf({ name }: Key): string {
    return `once::1:${this.#prefix}:${name}`;
  }

  get storedKeys(): string[] {
    return [PLAIN, ...KEYS].map(key => this.nameOf(key));
  }

  /** What lapses stands alone in its batch: whether a later step of it still finds it nobody could tell. */
  next(): { readonly batch: BatchOf; readonly lapses: boolean } {
    this.#lapses = this.#random.chance(0.3);
    const batch = this.#batch(this.#random.oneOf(VERBS));
    return { batch, lapses: this.#lapses };
  }

  #batch(verb: BatchOf['verb']): BatchOf {
    if (verb === 'enter') return { verb, steps: this.#some(() => this.#entry()) };
    if (verb === 'leave') return { verb, steps: this.#some(() => this.#leaving()).flat() };
    if (verb === 'exchange') {
      const acquisitions = this.#some(() => this.#acquisition());
      if (this.#lapses) return { verb, releases: [], renewals: [], acquisitions };
      const releases = this.#some(() => this.#ofPlain(step => this.#release(step))).flat();
      const renewals = this.#some(() =>
        this.#ofPlain(({ storedKey, token }) => ({ storedKey, token, ttl: LONG })),
      ).flat();
      if (this.#random.chance(0.5)) return { verb, releases, renewals, acquisitions };
      return { verb, ...this.#random.oneOf(alone({ releases, renewals, acquisitions })) };
    }
    const storedKey = () => this.nameOf(this.#random.oneOf(KEYS));
    if (verb === 'strikeOut') {
      return {
        verb,
        steps: this.#some(() => ({ storedKey: storedKey(), owner: this.#random.oneOf(OWNERS) })),
      };
    }
    return { verb, storedKeys: [...new Set(this.#some(storedKey))] };
  }

  #some<Item>(make: () => Item): Item[] {
    return Array.from({ length: this.#lapses ? 1 : this.#random.between(1, 4) }, make);
  }

  #ttl(): number {
    return this.#lapses && this.#random.chance(0.7) ? SHORT : LONG;
  }

  #entry(): Entry {
    const random = this.#random;
    const again = this.#asked.at(-1 - random.between(0, 5));
    const mayRepeat = again && 'places' in again.step && (this.#lapses || again.step.ttl === LONG);
    if (mayRepeat && random.chance(0.1)) return again.step as EnterStep;
    const key = random.oneOf(KEYS);
    const { places, line } = key;
    const step: EnterStep = {
      ...this.#who(key),
      places,
      ...(line && { line }),
      joins: random.chance(0.75),
      interrupts: random.chance(0.5),
      notify: random.chance(0.5),
    };
    this.#asked.push({ key, step });
    const behind = random.chance(0.3) ? random.oneOf(this.#asked).step.token : undefined;
    return behind === undefined ? step : { ...step, behind };
  }

  #acquisition(): AcquireStep {
    const step = { ...this.#who(PLAIN), notify: this.#random.chance(0.5) };
    this.#asked.push({ key: PLAIN, step });
    return step;
  }

  #who(key: Key): Pick<AcquireStep, 'storedKey' | 'token' | 'owner' | 'attempt' | 'ttl'> {
    const random = this.#random;
    const token = `t${this.#asked.length}.${this.#prefix}`;
    return {
      storedKey: this.nameOf(key),
      token,
      owner: random.oneOf(OWNERS),
      attempt: random.between(0, 3),
      ttl: this.#ttl(),
    };
  }

  #leaving(): LeaveStep[] {
    const random = this.#random;
    const last = this.#asked.filter(({ key }) => key !== PLAIN).at(-1 - random.between(0, 7));
    if (!last) return [];
    const { places, line } = last.key;
    return [{ ...this.#release(last.step), places, ...(line && { line }), rememberFor: this.#ttl() }];
  }

  #ofPlain<Item>(make: (step: AcquireStep) => Item): Item[] {
    const last = this.#asked.filter(({ key }) => key === PLAIN).at(-1 - this.#random.between(0, 3));
    return last ? [make(last.step)] : [];
  }

  #release({ storedKey, token }: AcquireStep): ReleaseStep {
    const random = this.#random;
    const lastsFor = this.#ttl();
    const reservation = random.chance(0.25) ? { dueIn: random.oneOf([0, lastsFor]), lastsFor } : undefined;
    return {
      storedKey,
      token,
      dedupeFor: random.chance(0.25) ? this.#ttl() : 0,
      ...(reservation && { reservation }),
    };
  }
}

/** Some of the batches of one step that a batch contains: such a step may be done by other code. */
function alone({ releases, renewals, acquisitions }: Batch): Batch[] {
  const none: Batch = { releases: [], renewals: [], acquisitions: [] };
  return [
    { ...none, releases: releases.slice(0, 1) },
    { ...none, renewals: renewals.slice(0, 1) },
    { ...none, acquisitions: acquisitions.slice(0, 1) },
  ].filter(batch => countSteps(batch) === 1);
}

/** Plays batches on a cache, and says what was answered: without times and fences, which differ. */
class Player {
  readonly #cache: Required<LockCache>;
  readonly #highest = new Map<string, number>();
  readonly #fences = new Map<string, number>();

  constructor(cache: LockCache) {
    this.#cache = cache as Required<LockCache>;
  }

  async play(batch: BatchOf): Promise<unknown> {
    const cache = this.#cache;
    switch (batch.verb) {
      case 'enter':
        return (await cache.enter(batch.steps.map(step => this.#entryOf(step)))).map((result, i) =>
          this.#entered(batch.steps[i] as EnterStep, result),
        );
      case 'leave':
        return cache.leave(batch.steps);
      case 'exchange': {
        const { released, renewed, acquired } = await exchangeWith(cache, batch);
        const granted = acquired.map((result, i) =>
          this.#entered(batch.acquisitions[i] as AcquireStep, result),
        );
        return { released, renewed, granted };
      }
      case 'strikeOut':
        return cache.strikeOut(batch.steps);
      case 'forceRelease':
        return cache.forceRelease(batch.storedKeys.map(storedKey => ({ storedKey })));
    }
  }

  /** All that is stored of some keys. */
  async look(storedKeys: readonly string[]): Promise<unknown> {
    const queries = storedKeys.flatMap(storedKey => OWNERS.map(owner => ({ storedKey, owner })));
    const records = await this.#cache.inspect(storedKeys);
    return [records.map(described), await this.#cache.lines(queries)];
  }

  #entryOf({ behind, ...step }: Entry): EnterStep {
    return behind === undefined ? step : { ...step, reservedAfter: this.#fences.get(behind) };
  }

  #entered(step: AcquireStep, result: AcquireResult | EnterResult | Error): unknown {
    if (result instanceof Error) throw result;
    if (!result.acquired)
      return {
        refusedBy: described(result.record),
        standing: 'standing' in result ? result.standing : undefined,
      };
    const { fence, reclaimed } = result;
    const before = this.#fences.get(step.token);
    const highest = this.#highest.get(step.storedKey) ?? 0;
    this.#fences.set(step.token, fence);
    this.#highest.set(step.storedKey, Math.max(fence, highest));
    return {
      reclaimed,
      next: 'next' in result ? result.next : undefined,
      isSame: before === fence,
      rises: fence > highest,
    };
  }
}

/** As JSON a field that is `undefined` is a field that is not there. */
function toJson(value: unknown): string {
  return JSON.stringify(value, undefined, 1);
}

function described(record: LockRecord | undefined): object | undefined {
  if (!record) return undefined;
  const { state, owner, attempt, ttl, dueIn, expiresIn } = record;
  return {
    state,
    owner,
    attempt,
    ttl,
    isDue: dueIn !== undefined && dueIn < LONG / 2,
    isLong: expiresIn > LONG / 2,
  };
}

describe('Batches of steps', () => {
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

  it('get the same answers in JavaScript, in Lua and in SQL, and leave the same records', async function () {
    this.timeout(60_000 + BATCHES * 200);
    const random = new Random(SEED);
    for (let played = 0; played < BATCHES; played += BATCHES_A_STORY) {
      const story = new Story(random);
      const players = [new MemoryCache(), new RedisCache(redis), new PostgresCache(pool)].map(
        cache => new Player(cache),
      );
      const told: unknown[] = [];
      for (let i = 0; i < BATCHES_A_STORY; i++) {
        const { batch, lapses } = story.next();
        told.push(batch);
        const compare = async (what: (player: Player) => Promise<unknown>): Promise<void> => {
          const [expected, ...others] = (await Promise.all(players.map(what))).map(toJson);
          const how = `seed ${SEED}, after ${played} batches: ${toJson(told)}`;
          for (const [j, answer] of others.entries())
            expect(answer, `${['Lua', 'SQL'][j]}, ${how}`).to.equal(expected);
        };
        await compare(player => player.play(batch));
        if (lapses) await delay(LAPSE_MS);
        await compare(player => player.look(story.storedKeys));
      }
    }
  });
});
