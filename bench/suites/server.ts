/** What a lock costs the server: the time that Redis itself counts for the commands, and the CPU of its process. */

import { RedisCache } from 'bullmq-once';
import { Redis } from 'ioredis';
import { onIoredis } from '../by-hand.ts';
import { type Locker, ours } from '../lockers.ts';
import { type Figures, measure } from '../measure.ts';
import { type Cell, figure, type Report, ratio, table } from '../report.ts';
import { type ServerFigures, serverStats } from '../server-stats.ts';
import type { Settings } from '../settings.ts';

const SIZES = [1, 10, 100];

/** A locker, and the commands that it sends: what scripts call inside is in their own time already. */
interface Candidate extends Locker {
  readonly toAcquire: string;
  readonly toRelease: string;
}

export async function server({ servers, rounds, scale }: Settings): Promise<Report> {
  const redis = new Redis(servers.redis);
  const candidates: Candidate[] = [
    { name: 'by hand', acquire: onIoredis(redis).byHand, toAcquire: 'set', toRelease: 'evalsha' },
    { ...ours(new RedisCache(redis)), toAcquire: 'evalsha', toRelease: 'evalsha' },
  ];
  const rows: (string | Cell)[][] = [];
  for (const size of SIZES) {
    const turns = Math.ceil(5_000 / size / scale);
    for (const candidate of candidates) await batches(redis, candidate, size, turns);
    const measured = await measure(
      candidates.map(candidate => ({
        name: candidate.name,
        run: () => batches(redis, candidate, size, turns),
      })),
      rounds,
    );
    for (const { name, figures, ratios } of measured) {
      rows.push([
        `${name}, ${size === 1 ? 'alone' : `${size} at once`}`,
        figure(figures.acquire),
        figure(figures.release),
        figure(figures.refuse),
        ratio(ratios.commands),
        figure(figures.calls),
        figure(figures.cpu),
        ratio(ratios.cpu),
      ]);
    }
  }
  redis.disconnect();
  return [
    '## What a lock costs Redis',
    'µs a lock, on ioredis. The first three columns are what `INFO commandstats` counts for the commands. The CPU of the ' +
      'server’s process is that of acquiring and releasing; it includes reading the requests and writing the answers, which a batch ' +
      'does once. Ratios are to locks by hand in batches of the same size.',
    table(
      [
        '',
        'acquired',
        'released',
        'refused',
        'acquired and released, relative',
        'calls a lock',
        'µs of CPU',
        'CPU, relative',
      ],
      rows,
    ),
  ];
}

/** Acquires, is refused and releases in batches, and asks the server after each what it took. */
async function batches(redis: Redis, candidate: Candidate, size: number, turns: number): Promise<Figures> {
  const { acquire, toAcquire, toRelease } = candidate;
  const locks = size * turns;
  const releases: (() => Promise<unknown>)[][] = [];

  const start = await serverStats(redis);
  for (let turn = 0; turn < turns; turn++) {
    const batch = await Promise.all(keys(turn, size).map(acquire));
    releases.push(batch.filter(release => release !== undefined));
  }
  const acquired = await serverStats(redis);
  for (let turn = 0; turn < turns; turn++) {
    const refused = await Promise.all(keys(turn, size).map(acquire));
    if (refused.some(Boolean)) throw new Error('a key that is held was acquired');
  }
  const refused = await serverStats(redis);
  for (const batch of releases) await Promise.all(batch.map(release => release()));
  const released = await serverStats(redis);

  const toAcquireAll = spent(start, acquired, toAcquire);
  const toReleaseAll = spent(refused, released, toRelease);
  return {
    acquire: toAcquireAll.micros / locks,
    refuse: spent(acquired, refused, toAcquire).micros / locks,
    release: toReleaseAll.micros / locks,
    commands: (toAcquireAll.micros + toReleaseAll.micros) / locks,
    calls: (toAcquireAll.calls + toReleaseAll.calls) / locks,
    cpu: (acquired.cpu - start.cpu + released.cpu - refused.cpu) / locks,
  };
}

function keys(turn: number, size: number): string[] {
  return Array.from({ length: size }, (_, i) => `key-${turn}-${i}`);
}

function spent(before: ServerFigures, after: ServerFigures, command: string) {
  const from = before.commands.get(command) ?? { calls: 0, micros: 0 };
  const to = after.commands.get(command) ?? from;
  return { calls: to.calls - from.calls, micros: to.micros - from.micros };
}
