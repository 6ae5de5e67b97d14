/**
 * bullmq-once/conformance: what every cache must do, as a suite of tests for whoever writes one. It runs under mocha,
 * vitest, jest and node:test.
 */

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Arrival, Claim, Holder, Lease, LockCache, Newest, Verdict } from '../cache/contract.ts';

/** What a cache can promise. Every test of the suite belongs to one of these. */
export const PROMISES = {
  exclusion: 'of one key there is never more than one lease that has not expired',
  onlyTheHolder: 'renewing and letting go act only where the token is stored',
  expiry: 'a lease ends after its ttl, unless it is renewed',
  takeOver: "an owner's newer run takes its lease over",
  keepFor: 'a key can be kept as done for a while',
  fencing: 'the fences of a key rise',
  batches: 'a batch is answered step by step, in order',
  anyKey: 'keys of any characters and length are kept apart',
  foreignValues: 'a value that no lock wrote counts as held, and is left alone',
  outages: 'a store that can not be reached is an error, never an answer',
  acrossInstances: 'two instances on one store exclude each other, as two processes do',
  retention: 'a lease stays, however many others there are',
  newest: "it tells which job of a key is the newest, for 'keep-last'",
  listing: 'it tells which locks there are',
  eviction: 'an operator lets go of a lock by hand',
} as const;

export type PromiseName = keyof typeof PROMISES;

/** What `create` makes: a store of its own, and caches on it. */
export interface CreatedCache {
  readonly cache: LockCache;
  /** A second instance on the same store. Needed for the promise `acrossInstances`. */
  readonly other?: LockCache;
  /** Puts a value under a key behind the cache's back. Needed for the promise `foreignValues`. */
  foreign?(key: string, value: string): unknown;
  /** Makes the store unreachable for `cache`, from now on. Needed for the promise `outages`. */
  outage?(): unknown;
  close?(): unknown;
}

export interface CacheUnderTest {
  /** What the suite is called in the report. */
  readonly name: string;
  /** Makes caches to test. It is called more than once; each is closed again. */
  create(): CreatedCache | Promise<CreatedCache>;
  /** The promises that the cache can't keep, as `false`. Their tests are reported as skipped. @defaultValue none */
  readonly promises?: { readonly [name in PromiseName]?: boolean };
  /** The test runner: `import * as runner from 'node:test'` or `'vitest'`. @defaultValue the global functions */
  readonly runner?: TestRunner;
}

/** What is used of a test runner. One of `after` and `afterAll` is enough. */
export interface TestRunner {
  describe(name: string, define: () => void): unknown;
  readonly it: {
    (name: string, test: () => Promise<void>, timeout?: any): any;
    skip(name: string, test: () => Promise<void>): unknown;
  };
  after?(hook: () => Promise<void>): unknown;
  afterAll?(hook: () => Promise<void>): unknown;
}

/** How long a test may take, in ms, where the runner can be told. */
const LIMIT = 120_000;

/**
 * Defines the tests of a cache.
 *
 * @throws TypeError there is no such promise, or no test runner.
 * @example
 * ```ts
 * testLockCache({
 *   name: 'MyCache',
 *   create: () => ({ cache: new MyCache(url), other: new MyCache(url) }),
 *   promises: { foreignValues: false, outages: false },
 * });
 * ```
 */
export function testLockCache({
  name,
  create,
  promises = {},
  runner = globalRunner(),
}: CacheUnderTest): void {
  for (const promise of Object.keys(promises)) {
    if (promise in PROMISES) continue;
    const known = Object.keys(PROMISES).join(', ');
    throw new TypeError(`testLockCache: there is no promise '${promise}'; there are: ${known}`);
  }
  const { describe, it } = runner;
  const after = runner.after ?? runner.afterAll;
  if (!describe || !it?.skip || !after) {
    throw new TypeError(
      "testLockCache: no test runner was found; run it under mocha, or pass one: import * as runner from 'node:test'",
    );
  }

  describe(name, () => {
    let made: Promise<CreatedCache> | undefined;
    let cache: LockCache;
    let other: LockCache;
    after(async () => {
      await (await made)?.close?.();
    });

    /** One test, of one promise. */
    function shows(
      promise: PromiseName,
      behaviour: string,
      body: (created: CreatedCache) => Promise<void>,
    ): void {
      if (promises[promise] === false) {
        // biome-ignore lint/suspicious/noSkippedTests: what a cache does not promise is shown as skipped
        it.skip(`${behaviour} (not promised: ${promise})`, async () => {});
        return;
      }
      const run = async () => {
        made ??= Promise.resolve(create());
        const created = await made;
        cache = created.cache;
        other =
          promises.acrossInstances === false ? cache : needed(created.other, 'other', 'acrossInstances');
        await body(created);
      };
      const defined = it(behaviour, run, LIMIT);
      if (typeof defined?.timeout === 'function') defined.timeout(LIMIT);
    }

    describe('a claim', () => {
      shows('exclusion', 'takes a free key, which is held until it is let go', async () => {
        const a = claim();

        const verdict = await acquire(cache, a);
        const whileHeld = await inspect(cache, a.key);
        const released = await release(cache, a);

        assert(verdict.taken);
        assert.equal(verdict.tookOver, false);
        includes(whileHeld, { state: 'running', owner: a.owner, key: a.key });
        assert.equal(released, true);
        assert.equal(await inspect(cache, a.key), undefined);
      });

      shows(
        'exclusion',
        'on a held key is refused, and leaves the holder and its expiry as they are',
        async () => {
          const a = claim({ ttl: 60_000 });
          const taken = await acquire(cache, a);

          const refused = await acquire(other, claim({ key: a.key, ttl: 999_000 }));

          assert(taken.taken);
          assert(!refused.taken, 'a held key was taken');
          includes(refused.holder, { key: a.key, owner: a.owner, state: 'running', fence: taken.fence });
          isWithin(refused.holder.expiresIn, 1, 60_000, 'expiresIn');
          isWithin(refused.holder.since - Date.now(), -30_000, 30_000, 'since');
          const holder = await inspect(cache, a.key);
          assert.equal(holder?.owner, a.owner);
          isWithin(holder?.expiresIn, 0, 60_000, 'expiresIn');
        },
      );

      shows('exclusion', 'does not concern other keys', async () => {
        const a = claim();
        const b = claim();
        await acquire(cache, a);

        const verdict = await acquire(cache, b);
        await release(cache, b);

        assert.equal(verdict.taken, true);
        assert.equal((await inspect(cache, a.key))?.owner, a.owner);
      });

      shows(
        'exclusion',
        'can be granted and let go ten times in a row, and is refused in between',
        async () => {
          const key = newKey();
          for (let i = 0; i < 10; i++) {
            const a = claim({ key });
            assert.equal((await acquire(cache, a)).taken, true);
            assert.equal((await acquire(other, claim({ key }))).taken, false);
            assert.equal(await release(cache, a), true);
          }
        },
      );

      shows('exclusion', 'that is sent again with the same token was granted before', async () => {
        const a = claim();
        const first = await acquire(cache, a);

        const again = await acquire(cache, a);

        assert.deepEqual(again, first);
      });

      shows('takeOver', 'by the owner of a lease takes it over, with a higher fence', async () => {
        const a = claim({ owner: 'job 17', attempt: 1 });
        const first = await acquire(cache, a);
        const b = claim({ key: a.key, owner: 'job 17', attempt: 2 });

        const second = await acquire(other, b);

        assert(first.taken && second.taken);
        assert.equal(second.tookOver, true);
        assert(second.fence > first.fence, `the fence went from ${first.fence} to ${second.fence}`);
        assert.equal(await renew(cache, a), false, 'the first renewed');
        assert.equal(await release(cache, a), false, 'the first let go');
        assert.equal(await release(other, b), true, 'the second could not let go');
      });

      shows('takeOver', 'of an older run does not take the lease over from a newer one', async () => {
        const newer = claim({ owner: 'job 17', attempt: 2 });
        await acquire(cache, newer);

        const verdict = await acquire(other, claim({ key: newer.key, owner: 'job 17', attempt: 1 }));

        assert(!verdict.taken);
        includes(verdict.holder, { owner: 'job 17', attempt: 2 });
      });

      shows(
        'takeOver',
        'is not taken for the owner by one whose name contains it as it is written',
        async () => {
          const a = claim({ owner: 'x","owner":"y' });
          await acquire(cache, a);

          const taken = [];
          for (const owner of ['y', 'x', 'x","owner":"y"', '']) {
            taken.push((await acquire(other, claim({ key: a.key, owner }))).taken);
          }

          assert.deepEqual(taken, [false, false, false, false]);
        },
      );
    });

    describe('a lease', () => {
      shows('expiry', 'ends after its ttl, for everyone', async () => {
        const a = claim({ ttl: 50 });
        await acquire(cache, a);

        await until(async () => (await inspect(other, a.key)) === undefined);
        const verdict = await acquire(other, claim({ key: a.key }));

        assert(verdict.taken);
        assert.equal(verdict.tookOver, false);
      });

      shows('expiry', 'that is renewed outlives its first ttl', async () => {
        const a = claim({ ttl: 500 });
        await acquire(cache, a);

        for (let i = 0; i < 6; i++) {
          await delay(150);
          assert.equal(await renew(cache, a), true, `renewal ${i} was refused`);
        }

        assert.equal((await acquire(other, claim({ key: a.key }))).taken, false);
      });

      shows('expiry', 'is extended to its ttl from now by a renewal, and not added to', async () => {
        const a = claim({ ttl: 60_000 });
        await acquire(cache, a);

        await renew(cache, a);
        await renew(cache, a);

        isWithin((await inspect(cache, a.key))?.expiresIn, 30_000, 60_000, 'expiresIn');
      });

      shows('expiry', 'that ended or was let go is not revived by a renewal', async () => {
        const letGo = claim();
        await acquire(cache, letGo);
        await release(cache, letGo);
        const ended = claim({ ttl: 20 });
        await acquire(cache, ended);
        await until(async () => (await inspect(cache, ended.key)) === undefined);

        assert.equal(await renew(cache, letGo), false);
        assert.equal(await renew(cache, ended), false);
        assert.equal(await inspect(cache, letGo.key), undefined);
        assert.equal(await inspect(cache, ended.key), undefined);
      });

      shows(
        'onlyTheHolder',
        'that ended and went to another is not touched by its first holder',
        async () => {
          const a = claim({ ttl: 50 });
          await acquire(cache, a);
          await until(async () => (await inspect(cache, a.key)) === undefined);
          const b = claim({ key: a.key, ttl: 60_000 });
          await acquire(other, b);

          assert.equal(await renew(cache, a), false, 'the first holder renewed');
          assert.equal(await release(cache, a), false, 'the first holder let go');

          const holder = await inspect(other, a.key);
          assert.equal(holder?.owner, b.owner);
          isWithin(holder?.expiresIn, 10_000, 60_000, 'expiresIn');
          assert.equal((await acquire(cache, claim({ key: a.key }))).taken, false);
        },
      );

      shows('retention', 'stays, however many others there are', async () => {
        const a = claim();
        await acquire(cache, a);

        for (let i = 0; i < 10; i++)
          await cache.acquire(Array.from({ length: 1000 }, () => claim({ ttl: 10_000 })));

        assert.equal((await acquire(other, claim({ key: a.key }))).taken, false);
      });
    });

    describe('an operator', () => {
      // In braces, so that a cluster has them on one server.
      const newPrefix = () => `once:1:{${newKey().replaceAll(':', '-')}}:*[?]\\`;

      shows('listing', 'sees who holds the keys that begin so, and no others', async () => {
        const prefix = newPrefix();
        const held = Array.from({ length: 30 }, (_, i) =>
          claim({ key: `${prefix}${i}`, owner: `owner ${i}` }),
        );
        const others = [claim({ key: `${newPrefix()}1` }), claim({ key: `${prefix.slice(0, -2)}x1` })];
        const [done, gone] = [claim({ key: `${prefix}done` }), claim({ key: `${prefix}gone` })];
        for (const one of [...held, ...others, done, gone]) await acquire(cache, one);
        await release(cache, done, 60_000);
        await release(cache, gone);

        const found = await list(other, prefix);

        assert.deepEqual(found.map(({ key }) => key).sort(), [...held, done].map(({ key }) => key).sort());
        for (const { key, owner } of held)
          includes(
            found.find(one => one.key === key),
            { owner, state: 'running' },
          );
        includes(
          found.find(({ key }) => key === done.key),
          { owner: done.owner, state: 'done' },
        );
      });

      shows(
        'eviction',
        'lets go of a key whoever holds it: its holder can neither renew nor let go',
        async () => {
          const [a, done] = [claim({ key: `${newPrefix()}a` }), claim({ key: `${newPrefix()}b` })];
          await acquire(cache, a);
          await acquire(cache, done);
          await release(cache, done, 60_000);

          const answers = [
            await evict(other, a.key),
            await evict(other, a.key),
            await evict(other, done.key),
          ];
          const next = await acquire(other, claim({ key: a.key }));

          assert.deepEqual(answers, [true, false, true]);
          assert.equal(next.taken, true);
          assert.equal(await renew(cache, a), false);
          assert.equal(await release(cache, a), false);
          assert.equal(await inspect(cache, done.key), undefined);
        },
      );
    });

    describe('an arrival', () => {
      shows('newest', 'is the newest if none has a higher order, in whichever order they come', async () => {
        const key = newKey();

        const [second, first, third] = [
          await announce(cache, arrival(key, 2)),
          await announce(other, arrival(key, 1)),
          await announce(cache, arrival(key, 3)),
        ];

        includes(second, { owner: 'job 2' });
        includes(first, { owner: 'job 2' });
        includes(third, { owner: 'job 3' });
      });

      shows('newest', 'of the same order is newer, unless it is a rerun', async () => {
        const key = newKey();
        await announce(cache, { ...arrival(key, 1), owner: 'a' });

        const rerun = await announce(other, { ...arrival(key, 1), owner: 'b', rerun: true });
        const newer = await announce(other, { ...arrival(key, 1), owner: 'c' });

        includes(rerun, { owner: 'a' });
        includes(newer, { owner: 'c' });
      });

      shows(
        'newest',
        'tells of one that waits, when it is outdone, and what it says itself when it comes again',
        async () => {
          const key = newKey();
          const waits = await announce(cache, { ...arrival(key, 1), waits: true });
          const seen = await announce(other, arrival(key, 0));
          const outdoing = await announce(other, arrival(key, 2));
          const late = await announce(cache, { ...arrival(key, 1), rerun: true });

          includes(waits, { owner: 'job 1', waits: true });
          includes(seen, { owner: 'job 1', waits: true });
          includes(outdoing, { owner: 'job 2', waits: false, outdone: 'job 1' });
          includes(late, { owner: 'job 2', waits: false });
          assert.equal(late.outdone, undefined);
          includes(await announce(cache, { ...arrival(key, 2), waits: true }), {
            owner: 'job 2',
            waits: true,
          });
        },
      );

      shows(
        'newest',
        'is forgotten after its time, and never before the longest that was asked for',
        async () => {
          const [short, long] = [newKey(), newKey()];
          await announce(cache, { ...arrival(short, 2), keepFor: 40 });
          await announce(cache, { ...arrival(long, 2), keepFor: 60_000 });
          await announce(other, { ...arrival(long, 3), keepFor: 40 });

          await until(
            async () => (await announce(other, { ...arrival(short, 1), keepFor: 1 })).owner === 'job 1',
          );

          includes(await announce(cache, arrival(long, 1)), { owner: 'job 3' });
        },
      );

      shows('newest', 'of many at once is one of each key', async () => {
        const keys = Array.from({ length: 300 }, newKey);

        const answers = await announceAll(
          cache,
          keys.flatMap(key => [arrival(key, 2), arrival(key, 1)]),
        );

        assert.equal(answers.length, 600);
        for (const one of answers) includes(answer([one]), { owner: 'job 2' });
      });

      shows('newest', 'that is compared is of its own key, whatever characters that has', async () => {
        for (const key of ['é', '{a}:b', 'a b', '%', "'; DROP"].map(part => `${newKey()}${part}`)) {
          await announce(cache, { ...arrival(key, 5), owner: "it's a 'job' + - 7" });

          includes(await announce(other, arrival(key, 4)), { owner: "it's a 'job' + - 7" });
          includes(await announce(other, arrival(`${key}x`, 4)), { owner: 'job 4' });
        }
      });
    });

    describe('a release', () => {
      shows('onlyTheHolder', 'by one who never held the key is refused', async () => {
        const a = claim();
        await acquire(cache, a);

        assert.equal(await release(other, claim({ key: a.key })), false);
        assert.equal((await inspect(cache, a.key))?.owner, a.owner);
      });

      shows('onlyTheHolder', 'that is repeated is a harmless no', async () => {
        const a = claim();
        await acquire(cache, a);
        await release(cache, a);

        assert.equal(await release(cache, a), false);
      });

      shows(
        'keepFor',
        'with keepFor leaves the key held as done, for all and for its own owner',
        async () => {
          const a = claim({ owner: 'job 17', attempt: 1 });
          const first = await acquire(cache, a);

          assert.equal(await release(cache, a, 60_000), true);

          const byOther = await acquire(other, claim({ key: a.key }));
          const byOwner = await acquire(other, claim({ key: a.key, owner: 'job 17', attempt: 2 }));
          for (const verdict of [byOther, byOwner]) {
            assert(!verdict.taken);
            includes(verdict.holder, { state: 'done', owner: 'job 17', fence: first.taken && first.fence });
            isWithin(verdict.holder.expiresIn, 30_000, 60_000, 'expiresIn');
          }
          assert.equal(await renew(cache, a), false, 'it was renewed');
          assert.equal(await release(cache, a), false, 'it was let go');
        },
      );

      shows('keepFor', 'with keepFor frees the key when that is over', async () => {
        const a = claim();
        await acquire(cache, a);
        await release(cache, a, 40);

        await until(async () => (await acquire(other, claim({ key: a.key }))).taken);
      });
    });

    describe('fences', () => {
      shows('fencing', 'of one key rise over takings, expiries and take-overs', async () => {
        const key = newKey();
        const fences: number[] = [];
        for (let i = 0; i < 20; i++) {
          const a = claim({ key, owner: `owner ${i >> 1}`, attempt: i, ttl: i % 4 === 3 ? 10 : 60_000 });
          const by = i % 3 ? cache : other;
          await until(async () => {
            const verdict = await acquire(by, a);
            if (verdict.taken) fences.push(verdict.fence);
            return verdict.taken;
          });
          if (i % 4 === 1) await release(by, a);
          // What is left is taken over by the same owner's next run, or expires.
          if (i % 4 === 3) await until(async () => (await inspect(by, key)) === undefined);
        }

        assert.equal(fences.length, 20);
        assertRising(fences);
      });

      shows('fencing', 'rise where a key is let go and taken in one turn', async () => {
        const fences: number[] = [];
        const key = newKey();
        let held = claim({ key });
        fences.push(fenceOf(await acquire(cache, held)));
        for (let i = 0; i < 50; i++) {
          const next = claim({ key });
          const batch = { releases: [lease(held)], renewals: [], claims: [next] };
          if (cache.exchange) fences.push(fenceOf(answer((await cache.exchange(batch)).claimed)));
          else {
            await release(cache, held);
            fences.push(fenceOf(await acquire(cache, next)));
          }
          held = next;
        }

        assertRising(fences);
      });
    });

    describe('a batch', () => {
      shows('batches', 'is answered step by step, in order', async () => {
        const held = claim();
        await acquire(other, held);
        const a = claim();
        const b = claim({ key: held.key });
        const c = claim();
        const again = claim({ key: a.key });

        const verdicts = await cache.acquire([a, b, c, again]);
        const renewed = await cache.renew([a, b, c].map(one => lease(one)));
        const released = await cache.release([c, b, a].map(one => lease(one)));

        assert.deepEqual(verdicts.map(isTaken), [true, false, true, false]);
        assert.deepEqual(renewed, [true, false, true]);
        assert.deepEqual(released, [true, false, true]);
        assert.equal((await inspect(cache, held.key))?.owner, held.owner);
      });

      shows('batches', 'of all three verbs lets go first, then renews, then claims', async () => {
        const [a, b, c] = [claim({ ttl: 1000 }), claim({ ttl: 1000 }), claim()];
        await cache.acquire([a, b, c]);
        if (!cache.exchange) return;

        const answers = await cache.exchange({
          releases: [lease(a), lease(c, 60_000)],
          renewals: [lease({ ...a, ttl: 60_000 }), lease({ ...b, ttl: 60_000 })],
          claims: [claim({ key: a.key, owner: 'next' }), claim({ key: b.key }), claim({ key: c.key })],
        });

        assert.deepEqual(answers.released, [true, true]);
        assert.deepEqual(answers.renewed, [false, true]);
        assert.deepEqual(answers.claimed.map(isTaken), [true, false, false]);
        assert.equal((await inspect(cache, a.key))?.owner, 'next');
        isWithin((await inspect(cache, b.key))?.expiresIn, 30_000, 60_000, 'expiresIn');
        assert.equal((await inspect(cache, c.key))?.state, 'done');
      });

      shows('batches', 'may be empty', async () => {
        assert.deepEqual(await cache.acquire([]), []);
        assert.deepEqual(await cache.renew([]), []);
        assert.deepEqual(await cache.release([]), []);
        assert.deepEqual(await cache.inspect([]), []);
      });

      shows('batches', 'may be large', async () => {
        const many = Array.from({ length: 1000 }, () => claim());

        const verdicts = await cache.acquire(many);
        const renewed = await cache.renew(many.map(one => lease(one)));
        const holders = await cache.inspect(many.map(({ key }) => key));
        const released = await cache.release(many.map(one => lease(one)));

        assert(verdicts.every(isTaken), 'not all were taken');
        assert.deepEqual(
          renewed.filter(yes => yes !== true),
          [],
        );
        assert.deepEqual(
          holders.map(holder => holder?.owner),
          many.map(({ owner }) => owner),
        );
        assert.deepEqual(
          released.filter(yes => yes !== true),
          [],
        );
      });
    });

    describe('keys', () => {
      shows('anyKey', 'of any characters and length are kept apart', async () => {
        const base = newKey();
        const claims = ODD_ENDS.map(end => claim({ key: base + end, owner: `owner of ${end}` }));

        const verdicts = await cache.acquire(claims);

        assert(verdicts.every(isTaken), 'two keys were taken for one');
        const holders = await other.inspect(claims.map(({ key }) => key));
        assert.deepEqual(
          holders.map(holder => holder?.owner),
          claims.map(({ owner }) => owner),
        );
        assert.deepEqual(
          holders.map(holder => holder?.key),
          claims.map(({ key }) => key),
        );
        assert(claims.every((one, i) => verdicts[i] && one.key === base + ODD_ENDS[i]));
        const released = await other.release(claims.map(one => lease(one)));
        assert(
          released.every(yes => yes === true),
          'not all were let go of',
        );
      });
    });

    describe('rivals', () => {
      shows(
        'exclusion',
        'win one at a time: no update is lost, even where a holder stops half-way',
        async () => {
          assert.deepEqual(await countUnderLock([cache], 100), [100, 100]);
        },
      );

      shows('acrossInstances', 'of two instances win one at a time', async () => {
        assert.deepEqual(await countUnderLock([cache, other], 100), [100, 100]);
      });

      shows(
        'acrossInstances',
        'that claim many keys at once, each in another order, all get their answers',
        async () => {
          const keys = Array.from({ length: 50 }, newKey);
          const rounds = Array.from({ length: 20 }, async (_, i) => {
            const by = i % 2 ? cache : other;
            const order = i % 3 ? keys : [...keys].reverse();
            const claims = order.map(key => claim({ key, owner: `rival ${i}` }));
            const verdicts = await by.acquire(claims);
            assert(
              !verdicts.some(verdict => verdict instanceof Error),
              String(verdicts.find(one => one instanceof Error)),
            );
            const won = claims.filter((_, at) => isTaken(verdicts[at] as Verdict));
            await by.release(won.map(one => lease(one)));
            return won.length;
          });

          const won = await Promise.all(rounds);

          assert(won.reduce((sum, some) => sum + some, 0) >= keys.length, "a key was nobody's");
          assert.deepEqual(
            await cache.inspect(keys),
            keys.map(() => undefined),
          );
        },
      );
    });

    shows(
      'foreignValues',
      'counts a value that somebody else put under the key as held, and leaves it',
      async created => {
        const a = claim();
        needed(created.foreign, 'foreign', 'foreignValues');
        await created.foreign?.(a.key, 'not a lock');

        const verdict = await acquire(cache, a);

        assert(!verdict.taken);
        includes(verdict.holder, { state: 'foreign', key: a.key, owner: '', fence: 0 });
        assert.equal(await renew(cache, a), false);
        assert.equal(await release(cache, a), false);
        assert.equal((await inspect(cache, a.key))?.state, 'foreign');
      },
    );

    shows(
      'outages',
      'gives an error or no answer, never a yes or a no, where its store can not be reached',
      async () => {
        const created = await create();
        const broken = created.cache;
        try {
          const held = claim();
          assert.equal((await acquire(broken, held)).taken, true);
          needed(created.outage, 'outage', 'outages');
          await created.outage?.();

          const asked = {
            'a claim': broken.acquire([claim({ key: held.key }), claim()]),
            'a renewal': broken.renew([lease(held)]),
            'a release': broken.release([lease(held)]),
            'a look': broken.inspect([held.key]),
          };
          for (const [what, answered] of Object.entries(asked)) {
            const answers = await Promise.race([answered, delay(1000, [])]).catch(error => [error as Error]);
            const wrong = answers.filter(one => !(one instanceof Error));
            assert.deepEqual(wrong, [], `${what} was answered`);
          }
        } finally {
          await created.close?.();
        }
      },
    );
  });
}

/** Eight rivals count under a lock, on two keys, `times` each. Whoever is not alone under it loses updates. */
async function countUnderLock(caches: readonly LockCache[], times: number): Promise<number[]> {
  const keys = [newKey(), newKey()];
  const counters = new Map(keys.map(key => [key, 0]));
  const rivals = Array.from({ length: 8 }, (_, i) => caches[i % caches.length] as LockCache);
  const turns = new Map(keys.map(key => [key, times]));
  async function count(by: LockCache): Promise<void> {
    for (const key of keys) {
      while ((turns.get(key) as number) > 0) {
        turns.set(key, (turns.get(key) as number) - 1);
        const a = claim({ key });
        await until(async () => (await acquire(by, a)).taken, LIMIT);
        const read = counters.get(key) as number;
        await delay(0);
        counters.set(key, read + 1);
        await release(by, a);
      }
    }
  }

  // One stops half-way: its lease ends, and the others still finish.
  await acquire(caches[0] as LockCache, claim({ key: keys[0] as string, ttl: 100 }));
  await Promise.all(rivals.map(count));
  return [...counters.values()];
}

/** What keys may end in. */
// biome-ignore format: a line a kind
const ODD_ENDS = [
  '', ' ', ':', '::', '{}', '{a}', '*', '?', '\n', '\r\n', '\u0000', '\u0001', 'é', 'e\u0301', '😀',
  '"', "'", '\\', '\\0', '\\\\0', '\\\u0000', '%', '%00', '$1', '--', '{"once":1}', '[]',
  'x'.repeat(10_000), `${'x'.repeat(9_999)}y`, '😀'.repeat(1000), `a${'😀'.repeat(1000)}`,
];

function claim(given: Partial<Claim> = {}): Claim {
  return {
    key: newKey(),
    token: randomUUID(),
    owner: `owner ${randomUUID()}`,
    attempt: 0,
    ttl: 60_000,
    ...given,
  };
}

function lease({ key, token, ttl }: Claim, keepFor = 0): Lease {
  return { key, token, ttl, keepFor };
}

function newKey(): string {
  return `conformance:${randomUUID()}`;
}

async function acquire(cache: LockCache, one: Claim): Promise<Verdict> {
  return answer(await cache.acquire([one]));
}

function arrival(key: string, order: number): Arrival {
  return { key, owner: `job ${order}`, order: `00${order}`, rerun: false, waits: false, keepFor: 60_000 };
}

function announceAll(cache: LockCache, all: readonly Arrival[]): Promise<readonly (Newest | Error)[]> {
  assert(
    cache.announce,
    "the cache has no method 'announce', which 'keep-last' needs; one that does without declares promises: { newest: false }",
  );
  return cache.announce(all);
}

async function announce(cache: LockCache, one: Arrival): Promise<Newest> {
  return answer(await announceAll(cache, [one]));
}

async function list(cache: LockCache, prefix: string): Promise<Holder[]> {
  assert(
    cache.list,
    "the cache has no method 'list'; one that can't have it declares promises: { listing: false }",
  );
  const found: Holder[] = [];
  for await (const holder of cache.list(prefix)) found.push(holder);
  return found;
}

async function evict(cache: LockCache, key: string): Promise<boolean> {
  assert(
    cache.evict,
    "the cache has no method 'evict'; one that can't have it declares promises: { eviction: false }",
  );
  return answer(await cache.evict([key]));
}

async function renew(cache: LockCache, one: Claim): Promise<boolean> {
  return answer(await cache.renew([lease(one)]));
}

async function release(cache: LockCache, one: Claim, keepFor = 0): Promise<boolean> {
  return answer(await cache.release([lease(one, keepFor)]));
}

async function inspect(cache: LockCache, key: string): Promise<Holder | undefined> {
  return (await cache.inspect([key]))[0];
}

function answer<T>([first]: readonly (T | Error)[]): T {
  if (first instanceof Error) throw first;
  return first as T;
}

function isTaken(verdict: Verdict | Error): boolean {
  if (verdict instanceof Error) throw verdict;
  return verdict.taken;
}

function fenceOf(verdict: Verdict): number {
  assert(verdict.taken, 'the key was not free');
  return verdict.fence;
}

function assertRising(fences: readonly number[]): void {
  for (const [i, fence] of fences.entries()) {
    assert(Number.isSafeInteger(fence), `${fence} is not a safe integer`);
    if (i > 0) assert(fence > (fences[i - 1] as number), `the fence went from ${fences[i - 1]} to ${fence}`);
  }
}

function includes<T extends object>(actual: T | undefined, expected: object): void {
  assert.deepEqual({ ...actual, ...expected }, actual);
}

function isWithin(actual: number | undefined, least: number, most: number, what: string): void {
  assert(
    actual !== undefined && actual >= least && actual <= most,
    `${what} is ${actual}, not ${least} to ${most}`,
  );
}

async function until(condition: () => Promise<boolean>, within = 30_000): Promise<void> {
  const end = Date.now() + within;
  while (!(await condition())) {
    assert(Date.now() < end, `this did not come true within ${within} ms: ${condition}`);
    await delay(5);
  }
}

/** What `create` has to give so that a promise can be shown. */
function needed<Value>(value: Value | undefined, name: keyof CreatedCache, promise: PromiseName): Value {
  assert(
    value,
    `create() gave no '${name}', which the promise '${promise}' is shown by; a cache that can't keep it declares ` +
      `promises: { ${promise}: false }`,
  );
  return value;
}

function globalRunner(): TestRunner {
  return globalThis as unknown as TestRunner;
}
