/** What a `RedisCache` answers to each kind of step, however its client decodes replies. */

import { randomUUID } from 'node:crypto';
import type { RedisCache } from '../../../src/index.ts';
import { until } from '../../support/index.ts';
import { acquireStep, enterStep, releaseStep, renewStep } from '../../support/steps.ts';

/** {@link answersOf} any client. */
export const EXPECTED_ANSWERS: Readonly<Record<string, unknown>> = {
  acquired: ['a fence', 'a fence', 'a fence'],
  refused: ['running me 7', 'running me 7'],
  reclaimed: ['a higher fence'],
  inspected: ['running me 8 for a minute', undefined],
  listed: 3,
  renewed: [true, false],
  entered: [true, true, '0 ahead, behind first'],
  line: { held: 2, parked: 1, head: 'third', ahead: 0, holds: false },
  leaves: [
    { released: true, next: 'third' },
    { released: false, next: 'third' },
  ],
  struck: [true],
  notified: true,
  released: [true, false],
  forced: [true, false],
  left: 0,
};

/** @param notifies - whether a release is expected to be notified. */
export async function answersOf(
  cache: RedisCache,
  { notifies = true }: { notifies?: boolean } = {},
): Promise<Record<string, unknown>> {
  const base = `once::1:default:answers-${randomUUID()}`;
  const mine = acquireStep({ storedKey: `${base}-a`, owner: 'me', attempt: 7 });
  const others = ['b', 'c'].map(name => acquireStep({ storedKey: `${base}-${name}` }));
  const again = acquireStep({ ...mine, token: randomUUID(), attempt: 8 });
  const rival = (notify: boolean) => acquireStep({ storedKey: mine.storedKey, notify });

  const acquired = await cache.acquire([mine, ...others]);
  const refused = await cache.acquire([rival(false), rival(true)]);
  const [reclaimed] = await cache.acquire([again]);
  const inspected = await cache.inspect([mine.storedKey, `${base}-free`]);
  let listed = 0;
  for await (const _ of cache.list(base)) listed++;
  const renewed = await cache.renew([renewStep(again), renewStep(mine)]);
  const inLine = (owner: string, places: number) =>
    enterStep({ storedKey: `${base}-line`, owner, places, line: 'all', token: owner });
  const entered = await cache.enter([inLine('first', 2), inLine('second', 2), inLine('third', 2)]);
  const [line] = await cache.lines([{ storedKey: `${base}-line`, owner: 'third' }]);
  const leaving = { ...releaseStep(inLine('first', 2)), places: 2, line: 'all', rememberFor: 1000 } as const;
  const left = await cache.leave([leaving, leaving]);
  const struck = await cache.strikeOut([{ storedKey: `${base}-line`, owner: 'third' }]);
  await cache.forceRelease([{ storedKey: `${base}-line` }]);
  let notified = 0;
  const listener = cache.listen(mine.storedKey, () => notified++);
  if (notifies) await until(() => listener.isListening, 'it listens', 5000);
  await cache.acquire([rival(true)]);
  const before = notified;
  const released = await cache.release([releaseStep(again), releaseStep(mine)]);
  if (notifies) await until(() => notified > before, 'it is notified', 5000);
  listener.stop();
  const [b] = others as [typeof mine, typeof mine];
  const forced = await cache.forceRelease([{ storedKey: b.storedKey }, { storedKey: mine.storedKey }]);
  await cache.release(others.map(step => releaseStep(step)));
  let remaining = 0;
  for await (const _ of cache.list(base)) remaining++;

  const first = acquired[0] as { fence: number };
  return {
    acquired: acquired.map(answer => ('fence' in answer && answer.fence > 1e15 ? 'a fence' : answer)),
    refused: refused.map(answer =>
      'record' in answer ? `${answer.record.state} ${answer.record.owner} ${answer.record.attempt}` : answer,
    ),
    reclaimed: [
      reclaimed && 'fence' in reclaimed && reclaimed.reclaimed && reclaimed.fence > first.fence
        ? 'a higher fence'
        : reclaimed,
    ],
    inspected: inspected.map(record => {
      if (!record) return record;
      const isFor =
        record.expiresIn > 50_000 && record.expiresIn <= 60_000 ? 'for a minute' : record.expiresIn;
      return `${record.state} ${record.owner} ${record.attempt} ${isFor}`;
    }),
    listed,
    renewed,
    entered: entered.map(answer => {
      if (!('standing' in answer) || answer.standing?.is !== 'in-line')
        return 'acquired' in answer && answer.acquired;
      return `${answer.standing.ahead} ahead, behind ${answer.record?.owner}`;
    }),
    line,
    leaves: left,
    struck,
    notified: notified > before,
    released,
    forced,
    left: remaining,
  };
}
