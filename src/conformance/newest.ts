/** Tests of the newest job of a key, for `'keep-last'`. */

import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import type { Arrival, LockCache, Newest } from '../cache/contract.ts';
import { assertIncludes, type DefineTest, newStoredKey, onlyAnswer, until } from './helpers.ts';

export function testNewest(test: DefineTest): void {
  test(
    'newest',
    'the newest job is the one with the highest order, whenever it arrives',
    async ({ cache, other }) => {
      const storedKey = newStoredKey();

      const second = await announce(cache, arrival(storedKey, 2));
      const first = await announce(other, arrival(storedKey, 1));
      const third = await announce(cache, arrival(storedKey, 3));

      assertIncludes(second, { owner: 'job 2' });
      assertIncludes(first, { owner: 'job 2' });
      assertIncludes(third, { owner: 'job 3' });
    },
  );

  test(
    'newest',
    'of two jobs with the same order the one that arrives later is newer, unless it is a rerun',
    async ({ cache, other }) => {
      const storedKey = newStoredKey();
      await announce(cache, { ...arrival(storedKey, 1), owner: 'a' });

      const rerun = await announce(other, { ...arrival(storedKey, 1), owner: 'b', rerun: true });
      const newer = await announce(other, { ...arrival(storedKey, 1), owner: 'c' });

      assertIncludes(rerun, { owner: 'a' });
      assertIncludes(newer, { owner: 'c' });
    },
  );

  test(
    'newest',
    'the newest job is reported as parked while it is, and a parked job that it has outdone is reported once',
    async ({ cache, other }) => {
      const storedKey = newStoredKey();
      const parked = await announce(cache, { ...arrival(storedKey, 1), parked: true });
      const toOlder = await announce(other, arrival(storedKey, 0));
      const outdoing = await announce(other, arrival(storedKey, 2));
      const late = await announce(cache, { ...arrival(storedKey, 1), rerun: true });
      const parkedLater = await announce(cache, { ...arrival(storedKey, 2), parked: true });

      assertIncludes(parked, { owner: 'job 1', parked: true });
      assertIncludes(toOlder, { owner: 'job 1', parked: true });
      assertIncludes(outdoing, { owner: 'job 2', parked: false, outdone: 'job 1' });
      assertIncludes(late, { owner: 'job 2', parked: false });
      assert.equal(late.outdone, undefined);
      assertIncludes(parkedLater, { owner: 'job 2', parked: true });
    },
  );

  test(
    'newest',
    'the newest job is remembered for the longest time that was asked for, and is then forgotten',
    async ({ cache, other }) => {
      const [short, long] = [newStoredKey(), newStoredKey()];
      await announce(cache, { ...arrival(short, 2), rememberFor: 40 });
      await announce(cache, { ...arrival(long, 2), rememberFor: 60_000 });
      await announce(other, { ...arrival(long, 3), rememberFor: 40 });

      await until(async () => {
        // An arrival prolongs the memory of the newest job. So the next one comes after that time.
        const newest = await announce(other, { ...arrival(short, 1), rememberFor: 100 });
        if (newest.owner !== 'job 1') await delay(200);
        return newest.owner === 'job 1';
      });

      assertIncludes(await announce(cache, arrival(long, 1)), { owner: 'job 3' });
    },
  );

  test(
    'newest',
    'each arrival is answered with the newest job of its key (many at once)',
    async ({ cache }) => {
      const storedKeys = Array.from({ length: 300 }, newStoredKey);

      const answers = await announceAll(
        cache,
        storedKeys.flatMap(storedKey => [arrival(storedKey, 2), arrival(storedKey, 1)]),
      );

      assert.equal(answers.length, 600);
      for (const answer of answers) assertIncludes(onlyAnswer([answer]), { owner: 'job 2' });
    },
  );

  test(
    'newest',
    'an arrival is compared with jobs of its own key only, whatever characters that has',
    async ({ cache, other }) => {
      for (const end of ['é', '{a}:b', 'a b', '%', "'; DROP"]) {
        const storedKey = `${newStoredKey()}${end}`;
        await announce(cache, { ...arrival(storedKey, 5), owner: "it's a 'job' + - 7" });

        assertIncludes(await announce(other, arrival(storedKey, 4)), { owner: "it's a 'job' + - 7" });
        assertIncludes(await announce(other, arrival(`${storedKey}x`, 4)), { owner: 'job 4' });
      }
    },
  );
}

function arrival(storedKey: string, order: number): Arrival {
  return {
    storedKey,
    owner: `job ${order}`,
    order: `00${order}`,
    rerun: false,
    parked: false,
    rememberFor: 60_000,
  };
}

async function announce(cache: LockCache, one: Arrival): Promise<Newest> {
  return onlyAnswer(await announceAll(cache, [one]));
}

function announceAll(cache: LockCache, arrivals: readonly Arrival[]): Promise<readonly (Newest | Error)[]> {
  assert(
    cache.announce,
    "the cache has no method 'announce', which 'keep-last' needs; a cache without it declares guarantees: { newest: false }",
  );
  return cache.announce(arrivals);
}
