/** A worker whose Redis is not on its own machine: each way, what it sends and what it is sent takes a millisecond. */

import { Redis } from 'ioredis';
import { startDelayProxy } from '../delay-proxy.ts';
import { BY_HAND, NO_GUARD, OURS } from '../guards.ts';
import { type Measured, measure, median } from '../measure.ts';
import { figure, type Report, ratio, table } from '../report.ts';
import type { Settings } from '../settings.ts';
import { type Load, Workers } from '../workers.ts';

const DELAY_MS = 1;
const CONCURRENCIES = [1, 10, 50];

export async function network({ servers, rounds, workerSets: sets, scale }: Settings): Promise<Report> {
  const proxy = await startDelayProxy({ port: Number(new URL(servers.redis).port), ms: DELAY_MS });
  const seenByWorkers = { ...servers, redis: `redis://127.0.0.1:${proxy.port}` };
  const roundTrip = await pingMs(seenByWorkers.redis);

  const workers = [NO_GUARD, OURS, BY_HAND].map(name => ({
    name,
    workers: new Workers(servers, name, { sets, seenByWorkers }),
  }));
  const results: Measured[][] = [];
  for (const concurrency of CONCURRENCIES) {
    for (const { workers: own } of workers) await own.warmUp(load(concurrency, scale));
    const contenders = workers.map(({ name, workers: own }) => ({
      name,
      run: () => own.run(load(concurrency, scale)),
    }));
    results.push(await measure(contenders, rounds));
  }
  for (const { workers: own } of workers) own.close();
  proxy.close();

  return [
    `## A worker, with ${DELAY_MS} ms of network delay each way`,
    'The same on ioredis, all keys distinct, where a proxy delays what passes between the worker and Redis. ' +
      `A \`PING\` through it took ${roundTrip.toFixed(1)} ms. A worker of few slots waits for the network most of the time, ` +
      'so each round trip that a guard adds counts.',
    table(
      ['', ...CONCURRENCIES.flatMap(one => [`jobs/s at ${one}`, `relative at ${one}`])],
      workers.map(({ name }, i) => [
        name,
        ...results.flatMap(result => [
          figure(result[i]?.figures['jobs/s']),
          ratio(result[i]?.ratios['jobs/s']),
        ]),
      ]),
    ),
  ];
}

function load(concurrency: number, scale: number): Load {
  const jobs = Math.ceil(Math.min(10_000, 400 * concurrency) / scale);
  return { store: 'ioredis', concurrency, jobs, key: n => `key-${n}` };
}

async function pingMs(url: string): Promise<number> {
  const redis = new Redis(url);
  const times: number[] = [];
  for (let i = 0; i < 100; i++) {
    const start = performance.now();
    await redis.ping();
    times.push(performance.now() - start);
  }
  redis.disconnect();
  return median(times);
}
