/** Tests of results that are kept, and of the line of those who share them. */

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import {
  type EnterResult,
  type EnterStep,
  type KeptResult,
  type LockCache,
  MAX_ANSWERED,
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
  reserve,
  until,
} from './helpers.ts';
import { assertStanding, enter, enterStep, leave, line } from './lines.ts';

const WINDOW = 60_000;
const KEPT: KeptResult = { text: '{"total":12.5,"of":"ä \\"\\u0000\\\\"}', bytes: 33 };
const LARGE: KeptResult = { text: 'x'.repeat(16_384), bytes: 16_384 };

export function testResults(test: DefineTest): void {
  test(
    'results',
    'a result is kept as long as the key stays held as done, and its record says how large it is',
    async ({ cache, other }) => {
      for (const result of [KEPT, LARGE]) {
        const step = acquireStep();
        await acquire(cache, step);
        await cache.release([{ ...releaseStep(step, WINDOW), result }]);

        assertIncludes(await inspect(other, step.storedKey), { state: 'done', resultBytes: result.bytes });
        assert.equal(await resultOf(other, step.storedKey), result.text);
        const refused = await acquire(other, acquireStep({ storedKey: step.storedKey }));
        assert(!refused.acquired);
        assertIncludes(refused.record, { state: 'done', resultBytes: result.bytes });
      }
    },
  );

  test('results', 'a result is gone with its window', async ({ cache, other }) => {
    const step = acquireStep();
    await acquire(cache, step);
    await cache.release([{ ...releaseStep(step, 60), result: KEPT }]);

    await until(async () => (await resultOf(other, step.storedKey)) === undefined);
  });

  test('results', 'a release that is no longer allowed keeps no result', async ({ cache, other }) => {
    const step = acquireStep();
    await acquire(cache, step);

    await other.release([{ ...releaseStep({ ...step, token: randomUUID() }, WINDOW), result: KEPT }]);

    assert.equal(await resultOf(cache, step.storedKey), undefined);
    assertIncludes(await inspect(cache, step.storedKey), { state: 'running' });
  });

  test(
    'results',
    'a batch keeps the result of each step that has one, and no other',
    async ({ cache, other }) => {
      const steps = Array.from({ length: 5 }, () => acquireStep());
      await cache.acquire(steps);
      const kept = (n: number): KeptResult => ({ text: `result ${n}`, bytes: n + 1 });

      const released = await cache.release(
        steps.map((step, n) =>
          n === 1
            ? releaseStep(step)
            : { ...releaseStep(step, WINDOW + n), result: n === 3 ? undefined : kept(n) },
        ),
      );

      assert.deepEqual(released, [true, true, true, true, true]);
      const found = await needResults(other).results(steps.map(({ storedKey }) => storedKey));
      assert.deepEqual(found, ['result 0', undefined, 'result 2', undefined, 'result 4']);
    },
  );

  test('results', 'a forced release forgets the result', async ({ cache, other }) => {
    const step = acquireStep();
    await acquire(cache, step);
    await cache.release([{ ...releaseStep(step, WINDOW), result: KEPT }]);
    assert(other.forceRelease, "the cache has no method 'forceRelease'");

    await other.forceRelease([{ storedKey: step.storedKey }]);

    assert.equal(await resultOf(cache, step.storedKey), undefined);
  });
}

export function testSharing(test: DefineTest): void {
  test('results', 'those who are parked when the work is done share its result', async ({ cache, other }) => {
    const [holder, second, third] = together(3);
    await enter(cache, holder);
    assertStanding(await enter(other, second), { is: 'in-line', ahead: 0 });
    assertStanding(await enter(cache, third), { is: 'in-line', ahead: 1 });

    const left = await leave(cache, holder, { result: KEPT });

    assertIncludes(left, { released: true, answered: [second.owner, third.owner] });
    assert.equal(await inspect(other, holder.storedKey), undefined);
    assertIncludes(await line(other, holder.storedKey, second.owner), { held: 0, parked: 0 });
    assertAnswered(await enter(other, again(third)), KEPT.text);
    assertAnswered(await enter(cache, again(second)), KEPT.text);
  });

  test(
    'results',
    'one that has come for its result gets it again, until there is a newer one',
    async ({ cache, other }) => {
      const [holder, parked, next] = together(3);
      await enter(cache, holder);
      await enter(cache, parked);
      await leave(cache, holder, { result: KEPT });
      const comes = again(parked);
      for (const step of [comes, comes, again(comes)]) {
        assertAnswered(await enter(other, step), KEPT.text);
      }
      await enter(cache, next);
      await enter(cache, again(holder));

      const left = await leave(cache, next, { result: LARGE });

      assert.deepEqual(left.answered, [holder.owner]);
      assert.equal((await enter(other, again(comes))).acquired, true);
    },
  );

  test(
    'results',
    'a result of work for other data goes to nobody who waits for another one',
    async ({ cache, other }) => {
      const [holder, parked, stranger, its] = together(4, n => (n < 2 ? 'five' : 'seven'));
      await enter(cache, holder);
      await enter(cache, parked);
      await leave(cache, holder, { result: { text: '{"match":"five","value":5}', bytes: 1 } });
      await enter(other, stranger);
      await enter(other, its);
      const seven = '{"match":"seven","value":7}';
      await leave(other, stranger, { result: { text: seven, bytes: 1 } });

      assertAnswered(await enter(cache, again(its)), seven);
      assert.equal((await enter(cache, again(parked))).acquired, true, 'it got the result of other data');
    },
  );

  test(
    'results',
    'one that does not come in time is forgotten, though newer results are kept',
    async ({ cache, other }) => {
      const [holder, absent, next, later] = together(4);
      await enter(cache, holder);
      await enter(cache, absent);
      await leave(cache, holder, { result: KEPT, rememberFor: 100 });
      const forgottenAt = performance.now() + 100;
      await enter(cache, next);
      await enter(cache, later);
      await leave(cache, next, { result: LARGE });
      await until(async () => performance.now() > forgottenAt + 20);
      const last = again(holder);
      await enter(cache, last);

      const left = await leave(cache, last, { result: KEPT });

      assert.deepEqual(left.answered, [later.owner]);
      assert.equal((await enter(other, again(absent))).acquired, true);
    },
  );

  test(
    'results',
    'each that comes tells of one that has not: those who were to be promoted may have been forgotten',
    async ({ cache, other }) => {
      const [holder, second, third, fourth] = together(4);
      for (const step of [holder, second, third, fourth]) await enter(cache, step);
      await leave(cache, holder, { result: KEPT });

      const nexts: unknown[] = [];
      for (const step of [third, second, fourth]) {
        const { standing } = (await enter(other, again(step))) as { standing?: { next?: string } };
        nexts.push(standing?.next);
      }

      assert.deepEqual(nexts, [second.owner, fourth.owner, undefined]);
    },
  );

  test(
    'results',
    'a newcomer is granted a key that is free, also while others wait',
    async ({ cache, other }) => {
      const [holder, second, newcomer] = together(3);
      await enter(cache, holder);
      await enter(other, second);

      const failed = await leave(cache, holder);

      assert.equal(failed.next, second.owner, 'the first of them is to run now');
      assert.equal(failed.answered, undefined);
      assert.equal((await enter(other, newcomer)).acquired, true);
      assertStanding(await enter(other, again(second)), { is: 'in-line', ahead: 0 });
      const left = await leave(other, newcomer, { result: KEPT });
      assert.deepEqual(left.answered, [second.owner]);
    },
  );

  test('results', 'the newest result serves those of an earlier round too', async ({ cache, other }) => {
    const [holder, second, third] = together(3);
    await enter(cache, holder);
    await enter(cache, second);
    await leave(cache, holder, { result: KEPT });
    const next = again(holder);
    await enter(other, next);
    await enter(other, third);

    const left = await leave(cache, next, { result: LARGE });

    assert.deepEqual(left.answered, [second.owner, third.owner]);
    for (const step of [second, third]) {
      assertAnswered(await enter(other, again(step)), LARGE.text);
    }
  });

  test(
    'results',
    'one that shares a result may come as long as it was told, though a newer one is kept for less',
    async ({ cache, other }) => {
      for (const isOfLine of [true, false]) {
        const [holder, parked] = together(2);
        await enter(cache, holder);
        await enter(cache, parked);
        await leave(cache, holder, { result: KEPT, rememberFor: WINDOW });
        const next = again(holder);
        await enter(other, next);

        if (isOfLine) await leave(other, next, { result: LARGE, rememberFor: 50 });
        else await other.release([{ ...releaseStep(next, 50), result: LARGE }]);
        const isOverAt = performance.now() + 50;
        await until(async () => performance.now() > isOverAt + 20);

        assertAnswered(await enter(cache, again(parked)), LARGE.text);
      }
    },
  );

  test(
    'results',
    'within a window nobody is parked: who comes is told the result',
    async ({ cache, other }) => {
      const [holder, parked, newcomer] = together(3);
      await enter(cache, holder);
      await enter(other, parked);
      await leave(cache, holder, { result: KEPT, dedupeFor: WINDOW });

      for (const step of [newcomer, again(parked), again(holder)]) {
        assertAnswered(await enter(other, step), KEPT.text);
      }
      const refused = await enter(other, newcomer);
      assert(!refused.acquired);
      assertIncludes(refused.record, { state: 'done', owner: holder.owner, resultBytes: KEPT.bytes });
      assertIncludes(await line(cache, holder.storedKey, newcomer.owner), { held: 1, parked: 0 });
    },
  );

  test(
    'results',
    'a result is kept for those who are parked as long as the step says, with no window',
    async ({ cache, other }) => {
      const [holder, parked] = together(2);
      await enter(cache, holder);
      await enter(cache, parked);
      await leave(cache, holder, { result: KEPT, rememberFor: 60 });

      await until(async () => (await resultOf(other, holder.storedKey)) === undefined);

      assert.equal((await enter(other, again(parked))).acquired, true);
    },
  );

  test('results', 'nothing is kept where nobody asks for it', async ({ cache }) => {
    const [holder] = together(1);
    await enter(cache, holder);

    const left = await leave(cache, holder, { result: KEPT });

    assert.equal(left.answered, undefined);
    assert.equal(await resultOf(cache, holder.storedKey), undefined);
  });

  test(
    'results',
    'of very many that share a result each that comes tells of another',
    async ({ cache, other }) => {
      const [holder] = together(1);
      await enter(cache, holder);
      const many = Array.from({ length: MAX_ANSWERED + 2 }, () =>
        enterStep({ storedKey: holder.storedKey, line: 'together' }),
      );
      for (let i = 0; i < many.length; i += 100) await cache.enter?.(many.slice(i, i + 100));
      const owners = many.map(({ owner }) => owner);

      const left = await leave(cache, holder, { result: KEPT });

      assert.deepEqual(left.answered, owners.slice(0, MAX_ANSWERED));
      const nexts: unknown[] = [];
      for (const step of many.slice(0, 3)) {
        const { standing } = (await enter(other, again(step))) as { standing?: { next?: string } };
        nexts.push(standing?.next);
      }
      assert.deepEqual(nexts, [...owners.slice(MAX_ANSWERED), owners[3]]);
    },
  );

  test('results', 'an operator who frees the key lets all do their work', async ({ cache, other }) => {
    const [holder, parked] = together(2);
    await enter(cache, holder);
    await enter(cache, parked);
    await leave(cache, holder, { result: KEPT, dedupeFor: WINDOW });
    assert(other.forceRelease, "the cache has no method 'forceRelease'");

    await other.forceRelease([{ storedKey: holder.storedKey }]);

    assert.equal((await enter(other, again(parked))).acquired, true);
  });
}

export function testMatching(test: DefineTest): void {
  test(
    'matching',
    'the record of a key keeps what must be equal: while the work runs, while it is reserved, when it is done',
    async ({ cache, other }) => {
      const match = 'a_hash-of-43';
      const step = acquireStep({ match, attempt: 1 });
      await acquire(cache, step);
      assertIncludes(await inspect(other, step.storedKey), { state: 'running', match });
      await cache.release([{ ...releaseStep(step), reservation: { dueIn: 1000, lastsFor: WINDOW } }]);
      assertIncludes(await inspect(other, step.storedKey), { state: 'reserved', match });
      const next = { ...step, token: randomUUID(), attempt: 2, match: 'another' };
      assert.equal((await acquire(other, next)).acquired, true, 'its own owner is refused');
      await other.release([releaseStep(next, WINDOW)]);

      assertIncludes(await inspect(cache, step.storedKey), { state: 'done', match: 'another' });
      const refused = await acquire(cache, acquireStep({ storedKey: step.storedKey }));
      assert(!refused.acquired);
      assertIncludes(refused.record, { match: 'another' });
      const without = acquireStep();
      await acquire(cache, without);
      assert.equal((await inspect(other, without.storedKey))?.match, undefined);
    },
  );

  for (const kind of ['all', 'newest', 'together'] as const) {
    test(
      kind === 'together' ? 'results' : 'lines',
      `an owner whose data differ from the holder's does not join the line, nor stay in it (${kind})`,
      async ({ cache, other }) => {
        const storedKey = newStoredKey();
        const step = (match?: string) => enterStep({ storedKey, line: kind, ...(match && { match }) });
        const holder = step('a');
        const parked = step('a');
        await enter(cache, holder);
        assertStanding(await enter(other, parked), { is: 'in-line', ahead: 0 });

        const stranger = await enter(other, step('b'));
        assert(!stranger.acquired);
        assert.equal(stranger.standing, undefined);
        assertIncludes(stranger.record, { owner: holder.owner, match: 'a' });
        assertIncludes(await line(cache, storedKey, parked.owner), { parked: 1, ahead: 0 });

        // Others hold the key when the parked one comes again: one without a hash, then one with another.
        await cache.forceRelease?.([{ storedKey }]);
        assert.equal((await acquire(cache, acquireStep({ storedKey }))).acquired, true);
        assertStanding(await enter(other, again(parked)), { is: 'in-line', ahead: 0 });
        await cache.forceRelease?.([{ storedKey }]);
        assert.equal((await acquire(cache, acquireStep({ storedKey, match: 'b' }))).acquired, true);
        const refused = await enter(other, again(parked));
        assert(!refused.acquired && refused.standing === undefined, 'it is not to wait any longer');
        assertIncludes(await line(cache, storedKey, parked.owner), { parked: 0 });
      },
    );

    test(
      kind === 'together' ? 'results' : 'lines',
      `an owner keeps its position in the line while its key is reserved for other data: that may end with a job (${kind})`,
      async ({ cache, other }) => {
        const storedKey = newStoredKey();
        const [holder, parked] = [
          enterStep({ storedKey, line: kind }),
          enterStep({ storedKey, line: kind, match: 'b' }),
        ];
        await enter(cache, holder);
        assertStanding(await enter(other, parked), { is: 'in-line', ahead: 0 });
        await cache.forceRelease?.([{ storedKey }]);
        const reserving = acquireStep({ storedKey, match: 'a' });
        assert.equal((await acquire(cache, reserving)).acquired, true);
        assert.equal(await reserve(cache, reserving, { dueIn: 0, lastsFor: 60_000 }), true);

        const refused = await enter(other, again(parked));
        assert(!refused.acquired && refused.standing === undefined, 'it is not of the same data');
        assertIncludes(await line(cache, storedKey, parked.owner), { parked: 1, ahead: 0 });
      },
    );
  }
}

type Four = [EnterStep, EnterStep, EnterStep, EnterStep];

/**
 * Entries of one key.
 * @param matchOf - a hash of what must be equal, for the nth.
 */
function together(count: number, matchOf?: (n: number) => string): Four {
  const storedKey = newStoredKey();
  const entry = (match?: string) => enterStep({ storedKey, line: 'together', ...(match && { match }) });
  return Array.from({ length: count }, (_, n) => entry(matchOf?.(n))) as Four;
}

/** The owner comes once more. */
function again(step: EnterStep): EnterStep {
  return { ...step, token: randomUUID(), attempt: step.attempt + 1 };
}

/** @param text - of the result. Whom to promote next is not looked at. */
function assertAnswered(result: EnterResult, text: string): void {
  assertIncludes((result as { standing?: object }).standing, { is: 'answered', result: text });
}

async function resultOf(cache: LockCache, storedKey: string): Promise<string | undefined> {
  return onlyAnswer(await needResults(cache).results([storedKey]));
}

function needResults(cache: LockCache): Required<Pick<LockCache, 'results'>> {
  assert(
    cache.results,
    "the cache has no method 'results', which 'share' and the results of work that was done need; a cache without it declares " +
      'guarantees: { results: false }',
  );
  return cache as Required<Pick<LockCache, 'results'>>;
}
