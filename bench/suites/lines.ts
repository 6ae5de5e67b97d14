/** What it costs to run the jobs of one key one after another, and what a long line costs while it waits. */

import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { ask, startChild } from '../child.ts';
import { GROUPMQ, IN_ORDER, type KeyedData, NO_ORDER, ONE_SLOT, POLLING, wayNamed } from '../in-turn.ts';
import type { InTurnOutcome, Ran, Request } from '../in-turn-process.ts';
import {
  type InTurnLoad,
  type InTurnRun,
  InTurnWorkers,
  outOfOrder,
  overlaps,
  untilDone,
} from '../in-turn-workers.ts';
import { type Figures, type Measured, measure } from '../measure.ts';
import { figure, type Report, ratio, table, whole } from '../report.ts';
import { scriptCalls, serverStats } from '../server-stats.ts';
import type { Settings } from '../settings.ts';

const SLOTS = 15;
const WORK_MS = 30;
/** How long the line is watched while it waits, in ms. */
const WATCH_MS = 10_000;
const POLL_MS = 20;
/** What a process runs before it is measured: many jobs, of which V8 needs that many to compile all, and some that have to wait. */
const WARM_UPS = [
  { jobs: 16_000, keys: 200 },
  { jobs: 4_000, keys: 4 },
];

export async function lines(settings: Settings): Promise<Report> {
  return [
    '## One after another',
    "Jobs of one key that run one after another, in order. `'in-order'` parks them, and `{ delay: 100 }` tries each again every " +
      '100 ms. [GroupMQ](https://github.com/Openpanel-dev/groupmq) is a queue of its own that was built for this. Ratios are to GroupMQ. ' +
      '“Out of order” is the part of the pairs of jobs of one key of which the later one started first.',
    ...(await empty(settings, 'one key', [GROUPMQ, IN_ORDER, POLLING, ONE_SLOT], 2_000, 1)),
    ...(await empty(settings, '200 keys', [GROUPMQ, NO_ORDER, IN_ORDER, POLLING], 8_000, 200)),
    ...(await long(settings)),
    ...(await parked(settings)),
  ];
}

/** Jobs that do nothing, spread over some keys, in one process. */
async function empty(
  { servers, rounds, workerSets: sets, scale }: Settings,
  title: string,
  ways: readonly string[],
  count: number,
  keys: number,
): Promise<Report> {
  const jobs = Math.ceil(count / scale);
  const load: InTurnLoad = {
    concurrency: SLOTS,
    workMs: 0,
    jobs: jobsOn(keys, jobs),
  };
  const measured = await taking(ways, { sets, redisUrl: servers.redis, rounds, scale }, load, run => ({
    ...orderOf(run.ran),
    'jobs/s': (jobs * 1000) / run.took,
    'worker µs/job': run.workerCpu / jobs,
    'Redis µs/job': run.redisCpu / jobs,
  }));
  return [
    `### Jobs that do nothing, ${title}`,
    `${whole(count)} jobs, one process with ${SLOTS} slots.`,
    table(
      ['', 'jobs/s', 'relative', 'worker µs/job', 'Redis µs/job', 'starts a job', 'out of order'],
      measured.map(({ name, figures, ratios }) => [
        name,
        figure(figures['jobs/s']),
        ratio(ratios['jobs/s']),
        figure(figures['worker µs/job']),
        figure(figures['Redis µs/job']),
        ratio(figures.starts),
        percentOf(figures.wrong?.median),
      ]),
    ),
  ];
}

function jobsOn(keys: number, count: number): KeyedData[] {
  return Array.from({ length: Math.ceil(count) }, (_, i) => ({
    key: `key-${i % keys}`,
    n: Math.floor(i / keys),
  }));
}

/** Many jobs of one key that take a while, and then a few of another, which should not have to wait for them. */
async function long({ servers, rounds, workerSets: sets, scale }: Settings): Promise<Report> {
  const many = Math.ceil(200 / scale);
  const few = Math.ceil(10 / scale);
  const jobs: KeyedData[] = [
    ...Array.from({ length: many }, (_, n) => ({ key: 'a', n })),
    ...Array.from({ length: few }, (_, n) => ({ key: 'b', n })),
  ];
  const load: InTurnLoad = { concurrency: 5, workMs: WORK_MS, jobs };
  const ideal = many * WORK_MS;
  const options = { sets, processes: 3, redisUrl: servers.redis, rounds, scale };
  const measured = await taking([GROUPMQ, IN_ORDER, POLLING], options, load, run => ({
    ...orderOf(run.ran),
    total: run.took / ideal,
    first: run.ran.find(({ key }) => key === 'b')?.startedAt ?? Number.NaN,
  }));
  return [
    '### Jobs that take a while',
    `200 jobs of key a that take ${WORK_MS} ms each, then 10 of key b, in 3 processes with 5 slots each. The ideal is ` +
      `${(200 * WORK_MS) / 1000} s, and a start of b at once. A timer of Node.js takes up to 1 ms longer than it should.`,
    table(
      ['', 'total / ideal', 'first job of b, ms', 'starts a job', 'out of order'],
      measured.map(({ name, figures }) => [
        name,
        ratio(figures.total),
        figure(figures.first),
        ratio(figures.starts),
        percentOf(figures.wrong?.median),
      ]),
    ),
  ];
}

interface Taking {
  readonly redisUrl: string;
  readonly rounds: number;
  readonly sets: number;
  readonly processes?: number;
  readonly scale: number;
}

/** Lets ways take turns with a load. */
async function taking(
  ways: readonly string[],
  { redisUrl, rounds, scale, ...options }: Taking,
  load: InTurnLoad,
  figuresOf: (run: InTurnRun) => Figures,
): Promise<Measured[]> {
  const workers = ways.map(way => new InTurnWorkers(redisUrl, way, options));
  for (const own of workers) {
    for (const { jobs, keys } of WARM_UPS) {
      await own.warmUp({ ...load, workMs: 0, jobs: jobsOn(keys, jobs / scale) });
    }
  }
  const contenders = workers.map((own, i) => ({
    name: ways[i] as string,
    run: async () => figuresOf(await own.run(load)),
  }));
  const measured = await measure(contenders, rounds);
  for (const own of workers) own.close();
  return measured;
}

/** @throws Error two jobs of one key ran at once. */
function orderOf(ran: readonly Ran[]): Figures {
  if (overlaps(ran) > 0) throw new Error(`${overlaps(ran)} jobs ran beside another of their key`);
  return {
    wrong: outOfOrder(ran),
    starts: ran.reduce((sum, { starts }) => sum + starts, 0) / ran.length,
  };
}

function percentOf(part: number | undefined): string {
  return part === 0 ? 'none' : `${((part ?? Number.NaN) * 100).toPrecision(2)} %`;
}

/** A long line whose key is held: what it costs while it waits, and how fast it goes on. */
async function parked({ servers, rounds, scale }: Settings): Promise<Report> {
  const count = Math.ceil(10_000 / scale);
  const [measured] = await measure(
    [{ name: IN_ORDER, run: () => waitAndDrain(servers.redis, count, WATCH_MS / scale) }],
    rounds,
  );
  const figures = measured?.figures ?? {};
  const columns = Object.keys(figures);
  return [
    '### A long line that waits',
    `A job holds its key, and ${whole(10_000)} others are parked behind it: one process with ${SLOTS} slots. When all are parked, the ` +
      `server’s commands are counted for ${WATCH_MS / 1000} s, BullMQ’s own with them. Those that scripts call count too. “Bytes a job” is ` +
      'what the line itself takes in Redis. BullMQ’s job is not counted. Then the holder ends, and the others do nothing.',
    table(['', ...columns], [[IN_ORDER, ...columns.map(column => figure(figures[column]))]]),
  ];
}

async function waitAndDrain(redisUrl: string, count: number, watchMs: number): Promise<Figures> {
  const redis = new Redis(redisUrl);
  const child = startChild('in-turn-process.js');
  const request = <Answer>(message: Request) => ask<Answer>(child, 'the long line', message);
  const queue = `line-${process.pid}`;
  const jobs = Array.from({ length: count + 1 }, (_, n) => ({ key: 'key', n }));
  await wayNamed(IN_ORDER).fill(redisUrl, queue, jobs);
  const task = { way: IN_ORDER, redisUrl, queue, concurrency: SLOTS, workMs: 0, holdFirst: true };
  await request({ do: 'prepare', task });
  const startedAt = performance.now();
  await request({ do: 'run' });
  while ((await redis.zcard(`bull:${queue}:delayed`)) < count) await delay(POLL_MS);
  const parkedIn = performance.now() - startedAt;

  const line = await findLine(redis, count);
  const bytes = Number(await redis.memory('USAGE', line, 'SAMPLES', 0));
  const before = await serverStats(redis);
  await delay(watchMs);
  const after = await serverStats(redis);
  const seconds = watchMs / 1000;

  const { at } = await request<{ at: number }>({ do: 'letGo' });
  await untilDone(async () => [await request<{ done: number }>({ do: 'count' })], count + 1, IN_ORDER);
  const { ran } = await request<InTurnOutcome>({ do: 'stop' });
  const drainedIn = Math.max(...ran.map(one => one.endedAt)) - at;
  orderOf([...ran].sort((a, b) => a.startedAt - b.startedAt));
  child.kill();
  await redis.flushdb();
  redis.disconnect();
  return {
    'parked/s': (count * 1000) / parkedIn,
    'commands/s': (commandsOf(after) - commandsOf(before)) / seconds,
    'scripts/s': (scriptCalls(after) - scriptCalls(before)) / seconds,
    'bytes a job': bytes / count,
    'drained in, s': drainedIn / 1000,
    'drained jobs/s': (count * 1000) / drainedIn,
  };
}

/** The sorted set that is the line: it is the only one of the lock's keys. */
async function findLine(redis: Redis, count: number): Promise<string> {
  for (const key of await redis.keys('*:once:*')) {
    if ((await redis.type(key)) === 'zset' && (await redis.zcard(key)) === count) return key;
  }
  throw new Error(`there is no line of ${count} jobs`);
}

function commandsOf({ commands }: { commands: ReadonlyMap<string, { calls: number }> }): number {
  let calls = 0;
  // The measurement's own.
  for (const [name, one] of commands) if (name !== 'info') calls += one.calls;
  return calls;
}
