/** Bad input through lines, results and journals: each is that of its own key or queue, and comes back as it was written. */

import { expect } from 'chai';
import fc from 'fast-check';
import { enterStep } from '../../src/conformance/lines.ts';
import type { DuplicateRecord, LockCache } from '../../src/index.ts';
import { boundOwner, ownerOfJob } from '../../src/key/owner-id.ts';
import { scopedName } from '../../src/key/stored-name.ts';
import { keptResult } from '../../src/lock/kept-result.ts';
import { uniqueName } from '../support/index.ts';
import { releaseStep } from '../support/steps.ts';
import { data, keyPairs, keyString } from './bad-input.ts';
import { checkEach, type Target } from './targets.ts';

/** The checks, which take a number of random choices. They reject with what fast-check found. */
export const CHECKS_OF_LINES: Record<
  string,
  (targets: readonly Target[], choices: fc.Parameters) => Promise<void>
> = {
  'gives each key its own line and result (as keys, job ids and results)': (targets, choices) =>
    fc.assert(
      fc.asyncProperty(keyPairs, keyString, keyString, data, (keys, id, otherId, result) =>
        checkEach(targets, cache => checkLines(cache as Required<LockCache>, keys, [id, otherId], result)),
      ),
      choices as never,
    ),
  'gives each queue its own journal (as queues, keys and job ids)': (targets, choices) =>
    fc.assert(
      fc.asyncProperty(keyString, keyString, keyString, async (queue, key, id) => {
        for (const { name, cache } of targets) {
          await checkJournal(cache, uniqueName(queue), key, id).catch(error => {
            throw new Error(`${name}: ${(error as Error).message}`, { cause: error });
          });
        }
      }),
      choices as never,
    ),
};

/** One job holds a key, and another is parked for it and shares its result. The other key knows nothing of that. */
async function checkLines(
  cache: Required<LockCache>,
  [one, other]: readonly [string, string],
  [id, otherId]: readonly [string, string],
  value: unknown,
): Promise<void> {
  if (!cache.enter || one === other || id === otherId) return;
  const [storedKey, otherKey] = [scopedName('bad', one), scopedName('bad', other)];
  const [owner, parked] = [ownerOf(id), ownerOf(otherId)];
  const line = 'together' as const;
  const holder = enterStep({ storedKey, owner, line });
  const result = keptResult({ owner }, value);

  const [held] = await cache.enter([holder]);
  const [refused] = await cache.enter([enterStep({ storedKey, owner: parked, line })]);
  const [own, others] = await cache.lines([
    { storedKey, owner: parked },
    { storedKey: otherKey, owner: parked },
  ]);
  const leaving = { ...releaseStep(holder), places: 1, line, rememberFor: 60_000, result };
  const [left] = await cache.leave([leaving]);
  const kept = await cache.results([storedKey, otherKey]);
  const [answered] = await cache.enter([enterStep({ storedKey, owner: parked, line })]);
  const [newcomer] = await cache.enter([enterStep({ storedKey, owner: `${owner} `, line })]);
  await cache.forceRelease([{ storedKey }, { storedKey: otherKey }]);

  expect(held).to.include({ acquired: true });
  expect(refused).to.have.nested.property('record.owner', owner);
  expect(own).to.include({ held: 1, parked: 1, head: parked, ahead: 0 });
  expect(others).to.include({ held: 0, parked: 0 });
  expect(left).to.deep.include({ released: true, answered: [parked] });
  expect(kept).to.deep.equal([result.text, undefined]);
  expect(answered).to.have.nested.property('standing.result', result.text);
  expect(newcomer).to.include({ acquired: true });
}

async function checkJournal(cache: LockCache, queue: string, key: string, id: string): Promise<void> {
  if (!cache.writeJournal || !cache.readJournal) return;
  const at = Date.now();
  const minute = at - (at % 60_000);
  const counts = [{ minute, outcome: 'skipped', count: 1 } as const];
  const holder = { state: 'running', owner: ownerOf(id), jobId: id, queueName: queue } as const;
  const jobId = boundOwner(id);
  const duplicates: DuplicateRecord[] = [{ at, jobId, key, outcome: 'skipped', observed: false, holder }];

  await cache.writeJournal([{ queue, counts, duplicates }]);
  const own = await cache.readJournal(queue);
  const others = await cache.readJournal(`${queue}:`);

  expect(own).to.deep.equal({ counts, duplicates });
  expect(others).to.deep.equal({ counts: [], duplicates: [] });
}

function ownerOf(id: string): string {
  return ownerOfJob({ queueQualifiedName: 'bull:bad', id, timestamp: 1_790_000_000_000 });
}
