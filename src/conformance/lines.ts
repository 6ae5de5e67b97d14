/** Tests of several places of one key, and of the line of those who are parked for it. */

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type {
  EnterResult,
  EnterStep,
  LeaveResult,
  LeaveStep,
  LineRecord,
  LockCache,
} from '../cache/contract.ts';
import {
  acquire,
  acquireStep,
  assertIncludes,
  type DefineTest,
  inspect,
  newStoredKey,
  onlyAnswer,
  releaseStep,
  renew,
  until,
} from './helpers.ts';

export function testPlaces(test: DefineTest): void {
  test(
    'lines',
    'a key with three places has three holders, and no fourth until one leaves',
    async ({ cache, other }) => {
      const storedKey = newStoredKey();
      const steps = Array.from({ length: 3 }, () => enterStep({ storedKey, places: 3 }));
      const results = [];
      for (const step of steps) results.push(await enter(cache, step));
      const fences = results.map(result => (result.acquired ? result.fence : 0));
      assert(
        0 < fences[0]! && fences[0]! < fences[1]! && fences[1]! < fences[2]!,
        `the fences are ${fences}`,
      );

      const late = enterStep({ storedKey, places: 3 });
      const refused = await enter(other, late);
      assert(!refused.acquired);
      assertIncludes(refused.record, { state: 'running' });

      assert.equal((await leave(other, steps[1]!)).released, true);
      assert.equal((await leave(other, steps[1]!)).released, false, 'it left twice');
      const granted = await enter(other, { ...late, token: randomUUID() });
      assert(granted.acquired && granted.fence > fences[2]!, 'the fence did not rise');
      assert.equal((await enter(cache, enterStep({ storedKey, places: 3 }))).acquired, false);
    },
  );

  test(
    'lines',
    'a place ends with its ttl unless it is renewed, and those beside it stay',
    async ({ cache, other }) => {
      const storedKey = newStoredKey();
      const [short, long] = [
        enterStep({ storedKey, places: 2, ttl: 60 }),
        enterStep({ storedKey, places: 2 }),
      ];
      await enter(cache, short);
      await enter(cache, long);

      await until(async () => (await enter(other, enterStep({ storedKey, places: 2 }))).acquired);

      assert.equal(await renew(cache, short), false, 'a lease that had expired was renewed');
      assert.equal(await renew(cache, long), true);
      assert.equal((await enter(other, enterStep({ storedKey, places: 2 }))).acquired, false);
    },
  );

  test(
    'lines',
    'all holders count, whatever number of places they came with (three, two and one)',
    async ({ cache, other }) => {
      const storedKey = newStoredKey();
      const steps = Array.from({ length: 3 }, () => enterStep({ storedKey, places: 3 }));
      for (const step of steps) await enter(cache, step);

      const wanted = () => enterStep({ storedKey, places: 2 });
      await leave(cache, steps[0]!);
      assert.equal((await enter(other, wanted())).acquired, false, 'of two places two are taken');
      assert.equal((await acquire(other, acquireStep({ storedKey }))).acquired, false);
      await leave(cache, steps[1]!);
      assert.equal((await acquire(other, acquireStep({ storedKey }))).acquired, false);
      assert.equal((await enter(other, wanted())).acquired, true);
    },
  );

  test(
    'lines',
    'the list has each holder of a key, and a forced release by a fence ends one of them',
    async ({ cache, other }) => {
      // Only the names of locks are listed. Its braces keep it on one server of a cluster.
      const storedKey = `once::1:{${newStoredKey().replaceAll(':', '-')}}:k`;
      const steps = [1, 2, 3].map(i => enterStep({ storedKey, places: 3, owner: `owner ${i}` }));
      const results = [];
      for (const step of steps) results.push(await enter(cache, step));
      const [, second] = results;
      assert(second?.acquired);
      if (other.forceRelease) {
        assert.deepEqual(await other.forceRelease([{ storedKey, fence: second.fence }]), [true]);
        assert.deepEqual(await other.forceRelease([{ storedKey, fence: second.fence }]), [false]);
        assert.equal((await leave(cache, steps[1]!)).released, false);
      }
      if (other.list) {
        const owners: string[] = [];
        for await (const { owner } of other.list(storedKey)) owners.push(owner);
        const expected = other.forceRelease ? ['owner 1', 'owner 3'] : ['owner 1', 'owner 2', 'owner 3'];
        assert.deepEqual(owners.sort(), expected);
      }
    },
  );

  test('lines', 'one who holds the key alone counts for those who share it', async ({ cache, other }) => {
    const alone = acquireStep();
    const { storedKey } = alone;
    await acquire(cache, alone);

    const beside = enterStep({ storedKey, places: 2 });
    assert.equal((await enter(other, beside)).acquired, true);
    assert.equal((await enter(other, enterStep({ storedKey, places: 2 }))).acquired, false);
    assert.equal(await renew(cache, alone), true);
    assert.equal((await leave(cache, enterStep({ ...alone, places: 1 }))).released, true);
    assert.equal((await enter(other, enterStep({ storedKey, places: 2 }))).acquired, true);
  });

  test('lines', 'a newer run of an owner reclaims its place', async ({ cache, other }) => {
    const storedKey = newStoredKey();
    const step = enterStep({ storedKey, places: 2, owner: 'job 17', attempt: 1 });
    const beside = enterStep({ storedKey, places: 2 });
    const first = await enter(cache, step);
    await enter(cache, beside);

    const again = await enter(other, { ...step, token: randomUUID(), attempt: 2 });

    assert(first.acquired && again.acquired && again.reclaimed);
    assert(again.fence > first.fence);
    assert.equal(await renew(cache, step), false);
    assert.equal(await renew(cache, beside), true);
  });

  test(
    'lines',
    'a step whose answer got lost is granted again as it was, and takes no other place',
    async ({ cache, other }) => {
      const step = enterStep({ places: 2 });
      const first = await enter(cache, step);
      const again = await enter(cache, step);

      assert(first.acquired && again.acquired);
      assert.equal(again.fence, first.fence);
      assert.equal((await enter(other, enterStep({ storedKey: step.storedKey, places: 2 }))).acquired, true);
    },
  );
}

export function testLine(test: DefineTest): void {
  test(
    'lines',
    'those who are refused are granted the key one after another, in the order in which they came',
    async ({ cache, other }) => {
      const storedKey = newStoredKey();
      const [a, b, c, late] = ['a', 'b', 'c', 'late'].map(owner => inLine({ storedKey, owner })) as Four;
      assert.equal((await enter(cache, a)).acquired, true);
      assertStanding(await enter(cache, b), { is: 'in-line', ahead: 0 });
      assertStanding(await enter(other, c), { is: 'in-line', ahead: 1 });
      assertStanding(await enter(other, again(b)), { is: 'in-line', ahead: 0 });
      assertIncludes(await line(cache, storedKey, 'c'), {
        held: 1,
        parked: 2,
        head: 'b',
        ahead: 1,
        holds: false,
      });

      assertIncludes(await leave(other, a), { released: true, next: 'b' });

      const early = await enter(cache, late);
      assertStanding(early, { is: 'in-line', ahead: 2 });
      assert(!early.acquired);
      assertIncludes(early.record, { state: 'parked', owner: 'b' });
      const head = again(b);
      assertIncludes(await enter(other, head), { acquired: true, next: 'c' });
      assert.equal((await enter(cache, again(c))).acquired, false);
      assertIncludes(await line(cache, storedKey, 'b'), { held: 1, parked: 2, head: 'c', holds: true });
      assertIncludes(await leave(cache, head), { released: true, next: 'c' });
    },
  );

  test('lines', 'a line serves all places of its key', async ({ cache }) => {
    const storedKey = newStoredKey();
    const [a, b, c, d] = ['a', 'b', 'c', 'd'].map(owner => inLine({ storedKey, owner, places: 2 })) as Four;
    for (const step of [a, b, c, d]) await enter(cache, step);

    assertIncludes(await leave(cache, a), { released: true, next: 'c' });
    const early = await enter(cache, again(d));
    assert(!early.acquired, 'd was granted the place of c');
    assertIncludes(early.record, { state: 'parked', owner: 'c' });
    assertIncludes(await leave(cache, b), { released: true, next: 'd' });
    assert.equal(
      (await enter(cache, again(d))).acquired,
      true,
      'two places are free, and two are in the line',
    );
    assert.equal((await enter(cache, again(c))).acquired, true);
  });

  test(
    'lines',
    'a step that does not join is granted what is its owner’s turn, and changes nothing else',
    async ({ cache, other }) => {
      const storedKey = newStoredKey();
      const [a, b, c] = ['a', 'b', 'c'].map(owner => inLine({ storedKey, owner })) as Four;
      const only = (step: EnterStep) => ({ ...again(step), joins: false });
      assertStanding(await enter(other, only(a)), { is: 'not-in-line' });
      await enter(cache, a);
      await enter(cache, b);

      assertStanding(await enter(other, only(c)), { is: 'not-in-line' });
      assertStanding(await enter(other, only(b)), { is: 'in-line', ahead: 0 });
      await leave(cache, a);
      assertStanding(await enter(other, only(c)), { is: 'not-in-line' });
      assert.equal((await enter(other, only(b))).acquired, true);
      assertIncludes(await line(cache, storedKey, 'c'), { parked: 0 });
    },
  );

  test('lines', 'an owner that is struck out is in the line no more', async ({ cache, other }) => {
    const storedKey = newStoredKey();
    const [a, b, c] = ['a', 'b', 'c'].map(owner => inLine({ storedKey, owner })) as Four;
    for (const step of [a, b, c]) await enter(cache, step);

    assert.deepEqual(await strikeOut(other, storedKey, 'b'), true);
    assert.deepEqual(await strikeOut(other, storedKey, 'b'), false);
    assertIncludes(await line(cache, storedKey, 'c'), { parked: 1, head: 'c', ahead: 0 });
    assertIncludes(await leave(cache, a), { next: 'c' });
  });

  test(
    'lines',
    'nobody is next while the key stays reserved; where it stays done the next is named; and its own owner is not parked for it',
    async ({ cache }) => {
      const [done, reserved] = [newStoredKey(), newStoredKey()];
      for (const storedKey of [done, reserved]) {
        await enter(cache, inLine({ storedKey, owner: 'a', attempt: 1, token: `${storedKey} a` }));
        await enter(cache, inLine({ storedKey, owner: 'b' }));
      }
      const step = (storedKey: string) => inLine({ storedKey, owner: 'a', token: `${storedKey} a` });
      const left = await leave(cache, step(done), { dedupeFor: 60_000 });
      const kept = await leave(cache, step(reserved), { reservation: { dueIn: 0, lastsFor: 60_000 } });

      assert.deepEqual([left.released, left.next], [true, 'b']);
      assert.deepEqual([kept.released, kept.next], [true, undefined]);
      assert.equal((await inspect(cache, done))?.state, 'done');
      const itself = await enter(cache, inLine({ storedKey: done, owner: 'a', attempt: 2 }));
      assert(!itself.acquired && itself.standing === undefined);
      assertIncludes(itself.record, { state: 'done', owner: 'a' });
      const back = inLine({ storedKey: reserved, owner: 'a', attempt: 2 });
      assertIncludes(await enter(cache, back), { acquired: true, reclaimed: false, next: 'b' });
      assertIncludes(await leave(cache, back), { released: true, next: 'b' });
    },
  );

  test('lines', 'each step on a line is answered (three hundred keys in one batch)', async ({ cache }) => {
    const steps = Array.from({ length: 300 }, () => newStoredKey()).flatMap(storedKey => [
      inLine({ storedKey, owner: 'a' }),
      inLine({ storedKey, owner: 'b' }),
    ]);
    const { enter } = needLines(cache);

    const results = await enter.call(cache, steps);

    assert.equal(results.length, 600);
    for (const [i, result] of results.entries()) {
      assertIncludes(onlyAnswer([result]), { acquired: i % 2 === 0 });
    }
  });

  test(
    'lines',
    'a line belongs to one key, whatever characters it and its owners have',
    async ({ cache, other }) => {
      for (const end of ['é', '{a}:b', '::once:1:q:k', "'; DROP", '%']) {
        const storedKey = `${newStoredKey()}${end}`;
        const owner = `it's "a" job + - 7 %\n${end}`;
        await enter(cache, inLine({ storedKey, owner: 'a' }));
        await enter(other, inLine({ storedKey, owner }));

        assertIncludes(await line(cache, storedKey, owner), { parked: 1, head: owner, ahead: 0 });
        assertIncludes(await line(cache, `${storedKey}x`, owner), { parked: 0, held: 0, holds: false });
      }
    },
  );
}

/** Jobs of one queue, with numbers that the queue gave them, created at a time. */
const job = (number: number, created = number) => `bull:emails:${number}@${created}`;
/** Jobs with ids that their producer chose. */
const named = (id: string, created: number) => `bull:emails:${id}@${created}`;

export function testNewest(test: DefineTest): void {
  test(
    'lines',
    'with room for the newest, a newer owner takes the position of the one that is parked',
    async ({ cache, other }) => {
      const storedKey = newStoredKey();
      await enter(cache, newest({ storedKey, owner: job(1) }));

      assertStanding(await enter(cache, newest({ storedKey, owner: job(2) })), { is: 'in-line', ahead: 0 });
      assertStanding(await enter(other, newest({ storedKey, owner: job(4) })), {
        is: 'in-line',
        ahead: 0,
        outdone: job(2),
      });
      const older = await enter(other, newest({ storedKey, owner: job(3) }));
      assertStanding(older, { is: 'outdone' });
      assertIncludes(await line(cache, storedKey, job(4)), { parked: 1, head: job(4), ahead: 0 });
    },
  );

  test(
    'lines',
    'of two owners the newer is told by the numbers of their queue, else by their times, else it is the later one',
    async ({ cache }) => {
      const cases: [parked: string, comes: string, isOutdone: boolean][] = [
        [job(8, 100), job(7, 100), true],
        [job(8, 100), job(9, 100), false],
        // Between numbers it decides nothing that a producer has chosen the time.
        [job(8, 100), job(9, 5), false],
        [job(8, 100), job(7, 200), true],
        [job(8, 100), job(7, Date.now() + 3_600_000), true],
        [named('x', 100), named('y', 99), true],
        [named('x', 100), named('y', 100), false],
        [named('x', 100), named('y', 101), false],
        [job(8, 100), named('y', 99), true],
        ['bull:other:9@100', job(8, 99), true],
        // Its producer dated it ahead: it is no newer than those that come after it.
        [named('x', Date.now() + 3_600_000), named('y', Date.now() + 1000), false],
        ['not a job', job(1, 1), false],
      ];
      for (const [parked, comes, isOutdone] of cases) {
        const storedKey = newStoredKey();
        await enter(cache, newest({ storedKey, owner: 'holder' }));
        await enter(cache, newest({ storedKey, owner: parked }));

        const result = await enter(cache, newest({ storedKey, owner: comes }));

        const standing = isOutdone ? { is: 'outdone' } : { is: 'in-line', ahead: 0, outdone: parked };
        assertStanding(result, standing, `${comes} after ${parked}`);
      }
    },
  );

  test(
    'lines',
    'a queue that was obliterated counts anew: a lower number is newer then',
    async ({ cache, other }) => {
      const storedKey = newStoredKey();
      await enter(cache, newest({ storedKey, owner: 'holder' }));
      await enter(cache, newest({ storedKey, owner: job(8, 100) }));
      await delay(20);
      const now = await timeOf(other);
      await delay(20);

      const result = await enter(other, newest({ storedKey, owner: job(1, now) }));

      assertStanding(result, { is: 'in-line', ahead: 0, outdone: job(8, 100) });
    },
  );

  test(
    'lines',
    'where an age is not known, the owner that comes again is outdone',
    async ({ cache, other }) => {
      const storedKey = newStoredKey();
      await enter(cache, newest({ storedKey, owner: 'holder' }));
      await enter(cache, newest({ storedKey, owner: job(1) }));
      assertStanding(await enter(other, newest({ storedKey, owner: 'hashed', attempt: 1 })), {
        is: 'in-line',
        ahead: 0,
        outdone: job(1),
      });

      assertStanding(await enter(cache, newest({ storedKey, owner: job(1), attempt: 2 })), { is: 'outdone' });
      assertIncludes(await line(other, storedKey, 'hashed'), { parked: 1, ahead: 0 });
    },
  );

  test(
    'lines',
    'who finds several holders is told of one whose place is reserved, and then of the next',
    async ({ cache, other }) => {
      const storedKey = newStoredKey();
      const holders = ['a', 'b', 'c'].map(owner => inLine({ storedKey, owner, places: 3, attempt: 1 }));
      for (const step of holders) await enter(cache, step);
      for (const step of holders.slice(1))
        await leave(cache, step, { reservation: { dueIn: 0, lastsFor: 60_000 } });
      const told: (string | undefined)[] = [];

      for (let i = 0, reservedAfter = 0; i < 3; i++) {
        const refused = await enter(other, inLine({ storedKey, owner: 'd', places: 3, reservedAfter }));
        assert(!refused.acquired);
        told.push(`${refused.record?.owner} ${refused.record?.state}`);
        reservedAfter = refused.record?.fence ?? 0;
      }

      assert.deepEqual(told, ['b reserved', 'c reserved', 'a running']);
    },
  );

  test('lines', 'an owner that is older than the holder is outdone', async ({ cache, other }) => {
    const storedKey = newStoredKey();
    await enter(cache, newest({ storedKey, owner: job(5) }));

    const older = await enter(other, newest({ storedKey, owner: job(4) }));

    assertStanding(older, { is: 'outdone' });
    assert(!older.acquired);
    assertIncludes(older.record, { state: 'running', owner: job(5) });
  });

  test(
    'lines',
    'on a free key an owner is outdone by a newer one that is parked or has run',
    async ({ cache, other }) => {
      const storedKey = newStoredKey();
      const holder = newest({ storedKey, owner: job(1) });
      const parked = newest({ storedKey, owner: job(5) });
      await enter(cache, holder);
      await enter(cache, parked);
      await leave(cache, holder);

      const before = await enter(other, newest({ storedKey, owner: job(3) }));
      assert(!before.acquired);
      assertStanding(before, { is: 'outdone' });
      assertIncludes(before.record, { state: 'parked', owner: job(5) });

      const runs = again(parked);
      assert.equal((await enter(cache, runs)).acquired, true);
      await leave(cache, runs);
      const after = await enter(other, newest({ storedKey, owner: job(4) }));
      assertStanding(after, { is: 'outdone' });
      assert(!after.acquired);
      assertIncludes(after.record, { state: 'done', owner: job(5) });
      assert.equal((await enter(other, newest({ storedKey, owner: job(6) }))).acquired, true);
    },
  );

  test(
    'lines',
    'on a free key a time of creation decides only for owners that come again',
    async ({ cache, other }) => {
      const storedKey = newStoredKey();
      const ran = newest({ storedKey, owner: named('x', 100) });
      await enter(cache, ran);
      await leave(cache, ran);

      assertStanding(await enter(other, newest({ storedKey, owner: named('y', 99), attempt: 2 })), {
        is: 'outdone',
      });
      assertStanding(await enter(other, newest({ storedKey, owner: named('y', 100), attempt: 2 })), {
        is: 'outdone',
      });
      assert.equal(
        (await enter(other, newest({ storedKey, owner: named('y', 99), attempt: 1 }))).acquired,
        true,
      );
    },
  );

  test(
    'lines',
    'who has run is remembered for as long as an older one may come again, and is then forgotten',
    async ({ cache, other }) => {
      const [short, long] = [newStoredKey(), newStoredKey()];
      for (const [storedKey, rememberFor] of [
        [short, 40],
        [long, 60_000],
      ] as const) {
        const older = newest({ storedKey, owner: job(1), ttl: 10_000 });
        await enter(cache, { ...older, ttl: 10 });
        await leave(cache, older, { rememberFor });
        const newer = newest({ storedKey, owner: job(2), ttl: 10 });
        await until(async () => (await enter(cache, again(newer))).acquired);
      }
      const isOutdone = async (storedKey: string) => {
        const result = await enter(
          other,
          newest({ storedKey, owner: job(1), attempt: 2, ttl: 10, joins: true }),
        );
        return !result.acquired && result.standing?.is === 'outdone';
      };

      await until(async () => !(await isOutdone(short)));
      assert.equal(await isOutdone(long), true);
    },
  );

  test(
    'lines',
    'an owner in the middle of its work reclaims what is its own although a newer one is parked',
    async ({ cache, other }) => {
      const storedKey = newStoredKey();
      const first = newest({ storedKey, owner: job(1), attempt: 1 });
      await enter(cache, first);
      await enter(cache, newest({ storedKey, owner: job(2) }));
      await leave(cache, first, { reservation: { dueIn: 0, lastsFor: 60_000 } });

      const back = newest({ storedKey, owner: job(1), attempt: 2 });
      assertIncludes(await enter(other, back), { acquired: true, next: job(2) });
      assertIncludes(await line(cache, storedKey, job(2)), { parked: 1, ahead: 0 });
      assertIncludes(await leave(other, back), { released: true, next: job(2) });
    },
  );

  test(
    'lines',
    'an owner that acquires a free key outdoes an older one that is parked, which is reported as next',
    async ({ cache, other }) => {
      const storedKey = newStoredKey();
      const holder = newest({ storedKey, owner: job(1) });
      await enter(cache, holder);
      await enter(cache, newest({ storedKey, owner: job(2) }));
      await leave(cache, holder);

      assertIncludes(await enter(other, newest({ storedKey, owner: job(3) })), {
        acquired: true,
        next: job(2),
      });
      assertIncludes(await line(cache, storedKey, job(2)), { parked: 0, ahead: undefined });
      assertStanding(await enter(other, newest({ storedKey, owner: job(2), attempt: 2 })), { is: 'outdone' });
    },
  );

  test(
    'lines',
    'one that was outdone while it was parked is outdone when it comes, however late that is',
    async ({ cache, other }) => {
      const storedKey = newStoredKey();
      const holder = newest({ storedKey, owner: named('a', 1) });
      await enter(cache, holder);
      await enter(cache, newest({ storedKey, owner: named('b', 2) }));
      await leave(cache, holder, { rememberFor: 1 });
      const newer = newest({ storedKey, owner: named('c', 3), ttl: 10 });
      assertIncludes(await enter(cache, newer), { acquired: true, next: named('b', 2) });
      await until(async () => !(await inspect(other, storedKey)));
      // Longer than four ttl.
      await delay(100);

      const late = await enter(other, newest({ storedKey, owner: named('b', 2), attempt: 2 }));

      assertStanding(late, { is: 'outdone' });
    },
  );

  test('lines', 'a forced release makes the cache forget who has run', async ({ cache, other }) => {
    const storedKey = newStoredKey();
    await enter(cache, newest({ storedKey, owner: job(5) }));
    assert(other.forceRelease, "the cache has no method 'forceRelease'");
    await other.forceRelease([{ storedKey }]);

    assert.equal((await enter(other, newest({ storedKey, owner: job(4) }))).acquired, true);
  });
}

/** The time of the store, in ms since the epoch. */
async function timeOf(cache: LockCache): Promise<number> {
  const step = enterStep();
  await enter(cache, step);
  return (await inspect(cache, step.storedKey))?.since as number;
}

type Four = [EnterStep, EnterStep, EnterStep, EnterStep];

/** An entry of a key of its own, by an owner of its own. */
export function enterStep(given: Partial<EnterStep> = {}): EnterStep {
  return { ...acquireStep(), places: 1, joins: true, interrupts: false, ...given };
}

/** Leaves what was entered. */
export function leaveStep(step: EnterStep, how: Partial<LeaveStep> = {}): LeaveStep {
  const { places, line } = step;
  return { ...releaseStep(step), places, line, rememberFor: 60_000, ...how };
}

function inLine(given: Partial<EnterStep>): EnterStep {
  return enterStep({ line: 'all', ...given });
}

function newest(given: Partial<EnterStep>): EnterStep {
  return enterStep({ line: 'newest', ...given });
}

/** The owner comes once more. */
function again(step: EnterStep): EnterStep {
  return { ...step, token: randomUUID(), attempt: step.attempt + 1 };
}

export async function enter(cache: LockCache, step: EnterStep): Promise<EnterResult> {
  return onlyAnswer(await needLines(cache).enter.call(cache, [step]));
}

export async function leave(
  cache: LockCache,
  step: EnterStep,
  how: Partial<LeaveStep> = {},
): Promise<LeaveResult> {
  return onlyAnswer(await needLines(cache).leave.call(cache, [leaveStep(step, how)]));
}

export async function line(cache: LockCache, storedKey: string, owner: string): Promise<LineRecord> {
  return onlyAnswer(await needLines(cache).lines.call(cache, [{ storedKey, owner }]));
}

async function strikeOut(cache: LockCache, storedKey: string, owner: string): Promise<boolean> {
  return onlyAnswer(await needLines(cache).strikeOut.call(cache, [{ storedKey, owner }]));
}

type WithLines = LockCache & Required<Pick<LockCache, 'enter' | 'leave' | 'lines' | 'strikeOut'>>;

function needLines(cache: LockCache): WithLines {
  for (const verb of ['enter', 'leave', 'lines', 'strikeOut'] as const) {
    assert(
      cache[verb],
      `the cache has no method '${verb}', which strategies that park their duplicates and 'concurrency' need; a cache without it ` +
        'declares guarantees: { lines: false }',
    );
  }
  return cache as WithLines;
}

export function assertStanding(result: EnterResult, expected: object, what = 'the standing'): void {
  assert(!result.acquired, `${what}: it was acquired`);
  const given = Object.entries(result.standing ?? {}).filter(([, value]) => value !== undefined);
  assert.deepEqual(Object.fromEntries(given), expected, what);
}
