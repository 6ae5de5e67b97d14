/** Many jobs, many locks, many duplicates: each job is done once, and memory stays flat. */

import { setTimeout as delay } from 'node:timers/promises';
import { Queue } from 'bullmq';
import { Child, type Message } from '../support/child.ts';
import { uniqueName, until } from '../support/index.ts';
import { RedisServer } from '../support/redis-server.ts';
import type { Measurement } from './measure.ts';
import type { Random } from './random.ts';
import type { Trial, TrialResult } from './trial.ts';

/** How much the heap may grow after the first jobs, in bytes after garbage collection. */
const MAX_HEAP_GROWTH = 4 * 2 ** 20;
const PROCESSES = 4;
/** Together as many as twenty workers of 50. */
const CONCURRENCY = 250;
const BULK = 1000;
const MAX_WAIT_MS = 300_000;

export const LOADS: readonly Trial[] = [
  {
    name: 'load: many jobs over hot keys',
    play: (random, scale) => onRedis(server => hotKeys(server, random, 100_000 / scale, 1000 / scale)),
  },
  {
    name: 'load: many locks held by one process',
    play: (_, scale) => onRedis(server => manyLocks(server, 50_000 / scale)),
  },
  {
    name: 'load: many duplicates of one key',
    play: (_, scale) => onRedis(server => manyDuplicates(server, 10_000 / scale)),
  },
];

async function onRedis(play: (server: RedisServer) => Promise<TrialResult>): Promise<TrialResult> {
  const server = await RedisServer.start();
  try {
    return await play(server);
  } finally {
    await server.stop();
  }
}

async function hotKeys(
  server: RedisServer,
  random: Random,
  jobs: number,
  keys: number,
): Promise<TrialResult> {
  const workers = await LoadWorkers.start(server, PROCESSES, CONCURRENCY, jobs);
  const next = () => ({ key: random.between(1, keys), ms: random.between(0, 10) });
  const startedAt = performance.now();

  await workers.add(jobs * 0.2, next);
  const before = await workers.measure();
  await workers.add(jobs * 0.8, next);
  const after = await workers.measure();
  const seconds = (performance.now() - startedAt) / 1000;
  const { runs, skipped } = await workers.report();
  const violations = [...(await workers.stop()), ...growth(before, after), ...overlapsIn(runs)];
  if (runs.length + skipped !== jobs)
    violations.push(`${jobs} jobs, ${runs.length} runs and ${skipped} skipped`);
  return {
    figures: `${jobs} jobs over ${keys} keys: ${runs.length} ran, ${skipped} were skipped, ${seconds.toFixed(0)} s, ${heaps(before, after)}`,
    violations,
  };
}

/** Long enough for several renewals on a loaded machine. */
const TTL = 15_000;

async function manyLocks(server: RedisServer, count: number): Promise<TrialResult> {
  const child = new Child(
    new URL('./many-locks.ts', import.meta.url),
    { port: server.port, count, ttl: TTL },
    ['--expose-gc'],
  );
  const held = await child.message('held');
  await delay(TTL * 1.5);
  child.send('release');
  const { before, after, lost, released, unhandled } = (await child.message('released')) as Message & {
    before: Measurement;
    after: Measurement;
  };
  const violations = [...growth([before], [after]), ...(unhandled as string[])];
  if (lost !== 0 || released !== count)
    violations.push(`${lost} were lost, ${released} of ${count} were released`);
  if ((await child.ended()) !== 0) violations.push('the process did not end by itself');
  violations.push(...(await leftIn(server, 'once:*')));
  const each = Math.round(((held.heap as number) - before.heap) / count);
  return {
    figures: `${count} locks, ${each} bytes a lock, with a signal each; ${heaps([before], [after])}`,
    violations,
  };
}

async function manyDuplicates(server: RedisServer, count: number): Promise<TrialResult> {
  const workers = await LoadWorkers.start(server, 1, CONCURRENCY, 10);
  const startedAt = performance.now();
  await workers.hold();
  await workers.add(count * 0.2, () => ({ key: 1, ms: 0 }));
  const before = await workers.measure();
  await workers.add(count * 0.8, () => ({ key: 1, ms: 0 }));
  const after = await workers.measure();
  const seconds = (performance.now() - startedAt) / 1000;
  await workers.finish();
  const { runs, skipped } = await workers.report();
  const violations = [...(await workers.stop()), ...growth(before, after)];
  if (runs.length !== 1 || skipped !== count) violations.push(`${runs.length} ran, ${skipped} were skipped`);
  return {
    figures: `${skipped} of ${count} duplicates were skipped, ${seconds.toFixed(0)} s, ${heaps(before, after)}`,
    violations,
  };
}

/** A run. */
type Run = readonly [key: number, startedAt: number, endedAt: number, fence: number];

class LoadWorkers {
  readonly #server: RedisServer;
  readonly #queue: Queue;
  readonly #children: readonly Child[];

  private constructor(server: RedisServer, queueName: string, children: readonly Child[]) {
    this.#server = server;
    this.#queue = new Queue(queueName, { connection: { port: server.port } });
    this.#children = children;
  }

  static async start(
    server: RedisServer,
    processes: number,
    concurrency: number,
    maxRuns: number,
  ): Promise<LoadWorkers> {
    const queueName = uniqueName('load');
    const argument = { port: server.port, queueName, concurrency, maxRuns };
    const worker = new URL('./load-worker.ts', import.meta.url);
    const children = Array.from({ length: processes }, () => new Child(worker, argument, ['--expose-gc']));
    await Promise.all(children.map(child => child.message('ready')));
    return new LoadWorkers(server, queueName, children);
  }

  /** Adds jobs, and waits until they have ended. */
  async add(count: number, next: () => object): Promise<void> {
    for (let added = 0; added < count; added += BULK) {
      const size = Math.min(BULK, count - added);
      await this.#queue.addBulk(Array.from({ length: size }, () => jobOf(next())));
    }
    await until(async () => (await this.#countOpen()) <= this.#holding, 'all jobs have ended', MAX_WAIT_MS);
  }

  #holding = 0;

  /** Adds a job that holds the key 1 until {@link finish}. */
  async hold(): Promise<void> {
    await this.#queue.addBulk([jobOf({ key: 1, ms: 0, holds: true })]);
    this.#holding = 1;
    await Promise.race(this.#children.map(child => child.message('holding')));
  }

  async finish(): Promise<void> {
    for (const child of this.#children) child.send('finish');
    await until(async () => (await this.#countOpen()) === 0, 'the holder has ended', MAX_WAIT_MS);
  }

  async #countOpen(): Promise<number> {
    const counts = await this.#queue.getJobCounts('waiting', 'active', 'delayed', 'prioritized', 'failed');
    return Object.values(counts).reduce((sum, count) => sum + count, 0);
  }

  async measure(): Promise<Measurement[]> {
    return (await this.#ask('measure', 'measured')) as unknown as Measurement[];
  }

  async report(): Promise<{ runs: Run[]; skipped: number }> {
    const all = await this.#ask('report', 'reported');
    const numbers = all.flatMap(({ runs }) => runs as number[]);
    const runs = Array.from({ length: numbers.length / 4 }, (_, i) => numbers.slice(i * 4, i * 4 + 4));
    return {
      runs: runs as never,
      skipped: all.reduce((sum, { skipped }) => sum + (skipped as number), 0),
    };
  }

  /** @returns what is wrong when all is over. */
  async stop(): Promise<string[]> {
    const measured = await this.#ask('measure', 'measured');
    for (const child of this.#children) child.send('stop');
    const ends = await Promise.all(this.#children.map(child => child.ended()));
    const { name } = this.#queue;
    await this.#queue.close();
    return [
      ...measured.flatMap(({ unhandled }) => unhandled as string[]),
      ...ends.filter(end => end !== 0).map(end => `a process ended: ${end}`),
      ...(await leftIn(this.#server, `bull:${name}::once*`)),
    ];
  }

  #ask(question: string, event: string): Promise<Message[]> {
    return Promise.all(
      this.#children.map(async child => {
        const before = child.messagesOf(event).length;
        child.send(question);
        await until(() => child.messagesOf(event).length > before, `'${event}'`, MAX_WAIT_MS);
        return child.messagesOf(event)[before] as Message;
      }),
    );
  }
}

function jobOf(data: object): { name: string; data: object; opts: object } {
  return { name: 'job', data, opts: { removeOnComplete: true } };
}

function growth(before: readonly Measurement[], after: readonly Measurement[]): string[] {
  return before.flatMap((first, i) => {
    const second = after[i] as Measurement;
    const grown = (['timers', 'sockets', 'listeners'] as const).filter(what => second[what] > first[what]);
    if (second.heap > first.heap + MAX_HEAP_GROWTH) return [`the heap grew: ${heaps([first], [second])}`];
    return grown.map(what => `${what} grew from ${first[what]} to ${second[what]}`);
  });
}

function heaps(before: readonly Measurement[], after: readonly Measurement[]): string {
  const inMegabytes = (all: readonly Measurement[]) =>
    Math.max(...all.map(({ heap }) => heap / 2 ** 20)).toFixed(1);
  return `heap ${inMegabytes(before)} MiB, then ${inMegabytes(after)} MiB`;
}

/** Runs of one key that overlap, or whose fences do not rise. */
function overlapsIn(runs: readonly Run[]): string[] {
  const sorted = runs.toSorted(
    ([key, startedAt], [otherKey, otherStartedAt]) => key - otherKey || startedAt - otherStartedAt,
  );
  return sorted.flatMap(([key, startedAt, , fence], i) => {
    const [keyBefore, , endedBefore, fenceBefore] = sorted[i - 1] ?? [0, 0, 0, 0];
    if (key !== keyBefore || (startedAt >= endedBefore && fence > fenceBefore)) return [];
    return [
      `a run of key ${key} started ${endedBefore - startedAt} ms before the end of another, or with no higher fence`,
    ];
  });
}

async function leftIn(server: RedisServer, pattern: string): Promise<string[]> {
  const keys = (await server.call('KEYS', pattern)) as string[];
  return keys.length > 0 ? [`${keys.length} locks are left, such as ${keys[0]}`] : [];
}
