/** What it costs to acquire and release one lock on ioredis: alone, with many in flight, and where the key is held. */

import { Redis } from 'ioredis';
import { onIoredis } from '../by-hand.ts';
import { type Locker, onIoredisClient } from '../lockers.ts';
import { inFlight, oneAfterAnother } from '../locking.ts';
import { type Figures, type Measured, measure } from '../measure.ts';
import { figure, type Report, ratio, table } from '../report.ts';
import type { Settings } from '../settings.ts';

const CROWDS = [100, 1000];

export async function lock({ servers, rounds, scale }: Settings): Promise<Report> {
  const clients: Redis[] = [];
  const connect = (options = {}) => {
    const redis = new Redis(servers.redis, options);
    clients.push(redis);
    return redis;
  };
  const [byHand, ...others] = onIoredisClient.map(locker => locker(connect())) as [Locker, ...Locker[]];
  const pipelining = onIoredis(connect({ enableAutoPipelining: true }));
  const lockers = [byHand, { name: 'by hand, auto-pipelining', acquire: pipelining.byHand }, ...others];

  const alone = await compare(lockers, rounds, locker => oneAfterAnother(locker, 2000 / scale));
  const crowds: Measured[][] = [];
  for (const size of CROWDS) {
    crowds.push(await compare(lockers, rounds, locker => crowd(locker, size, 20_000 / scale)));
  }
  const refused = await compare(lockers, rounds, locker => refusals(locker, 20_000 / scale));
  for (const redis of clients) redis.disconnect();

  return [
    '## One lock',
    '`Lock` against the lock libraries and against what people write by hand: `SET NX`, and a script that compares and deletes. ' +
      'All on ioredis.',
    '### One after another',
    table(
      ['', 'µs to acquire', 'µs to release', 'both, relative'],
      alone.map(({ name, figures, ratios }) => [
        name,
        figure(figures['µs to acquire']),
        figure(figures['µs to release']),
        ratio(ratios['µs for both']),
      ]),
    ),
    '### Many in flight',
    table(
      ['', ...CROWDS.flatMap(size => [`locks/s, ${size} in flight`, `relative, ${size} in flight`])],
      lockers.map(({ name }, i) => [
        name,
        ...crowds.flatMap(crowd => [
          figure(crowd[i]?.figures['locks/s']),
          ratio(crowd[i]?.ratios['locks/s']),
        ]),
      ]),
    ),
    '### A key that is held',
    table(
      ['', 'refused/s, 100 in flight', 'relative'],
      refused.map(({ name, figures, ratios }) => [
        name,
        figure(figures['refused/s']),
        ratio(ratios['refused/s']),
      ]),
    ),
  ];
}

/** Measures lockers that have warmed up: each has worked once as it will be measured. */
async function compare(
  lockers: readonly Locker[],
  rounds: number,
  run: (locker: Locker) => Promise<Figures>,
): Promise<Measured[]> {
  for (const locker of lockers) await run(locker);
  return measure(
    lockers.map(locker => ({ name: locker.name, run: () => run(locker) })),
    rounds,
  );
}

async function crowd({ acquire }: Locker, size: number, times: number): Promise<Figures> {
  const start = performance.now();
  await inFlight(size, times, async i => (await acquire(`key-${i}`))?.());
  return { 'locks/s': (times * 1000) / (performance.now() - start) };
}

async function refusals({ acquire }: Locker, times: number): Promise<Figures> {
  const release = await acquire('held');
  const start = performance.now();
  await inFlight(100, times, async () => {
    if (await acquire('held')) throw new Error('a key that is held was acquired');
  });
  const took = performance.now() - start;
  await release?.();
  return { 'refused/s': (times * 1000) / took };
}
