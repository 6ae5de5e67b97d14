/** Many jobs, many locks, many duplicates: all is done once, and memory stays flat. */

import { setTimeout as delay } from 'node:timers/promises';
import { Queue } from 'bullmq';
import { Child, type Message } from '../support/child.ts';
import { uniqueName, until } from '../support/index.ts';
import { RedisServer } from '../support/redis-server.ts';
import type { Measured } from './measure.ts';
import type { Random } from './random.ts';
import type { Trial, Tried } from './trial.ts';

/** Heap after garbage collection may be so much more at the end than when it had got going, in bytes. */
const NOISE = 4 * 2 ** 20;
const PROCESSES = 4;
/** Together as much as twenty workers of 50. */
const CONCURRENCY = 250;
const BULK = 1000;
const GIVE_UP = 300_000;

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

async function onRedis(play: (server: RedisServer) => Promise<Tried>): Promise<Tried> {
  const server = await RedisServer.start();
  try {
    return await play(server);
  } finally {
    await server.stop();
  }
}

async function hotKeys(server: RedisServer, random: Random, jobs: number, keys: number): Promise<Tried> {
  const crew = await LoadCrew.start(server, PROCESSES, CONCURRENCY, jobs);
  const next = () => ({ key: random.between(1, keys), ms: random.between(0, 10) });
  const startedAt = performance.now();

  await crew.add(jobs * 0.2, next);
  const before = await crew.measure();
  await crew.add(jobs * 0.8, next);
  const after = await crew.measure();
  const seconds = (performance.now() - startedAt) / 1000;
  const { runs, skipped } = await crew.report();
  const violations = [...(await crew.stop()), ...growth(before, after), ...overlapsIn(runs)];
  if (runs.length + skipped !== jobs)
    violations.push(`${jobs} jobs, ${runs.length} runs and ${skipped} skipped`);
  return {
    figures: `${jobs} jobs over ${keys} keys: ${runs.length} ran, ${skipped} were skipped, ${seconds.toFixed(0)} s, ${heaps(before, after)}`,
    violations,
  };
}

/** Long enough for several renewals, by a machine that has a lot to do. */
const TTL = 9000;

async function manyLocks(server: RedisServer, count: number): Promise<Tried> {
  const hoarder = new Child(
    new URL('./lock-hoarder.ts', import.meta.url),
    { port: server.port, count, ttl: TTL },
    ['--expose-gc'],
  );
  const held = await hoarder.hears('held');
  await delay(TTL * 1.5);
  hoarder.tell('release');
  const { before, after, lost, released, unhandled } = (await hoarder.hears('released')) as Message & {
    before: Measured;
    after: Measured;
  };
  const violations = [...growth([before], [after]), ...(unhandled as string[])];
  if (lost !== 0 || released !== count)
    violations.push(`${lost} were lost, ${released} of ${count} were let go of`);
  if ((await hoarder.ended()) !== 0) violations.push('the process did not end by itself');
  violations.push(...(await leftIn(server, 'once:*')));
  const each = Math.round(((held.heap as number) - before.heap) / count);
  return {
    figures: `${count} locks, ${each} bytes a lock, with a signal each; ${heaps([before], [after])}`,
    violations,
  };
}

async function manyDuplicates(server: RedisServer, count: number): Promise<Tried> {
  const crew = await LoadCrew.start(server, 1, CONCURRENCY, 10);
  const startedAt = performance.now();
  await crew.hold();
  await crew.add(count * 0.2, () => ({ key: 1, ms: 0 }));
  const before = await crew.measure();
  await crew.add(count * 0.8, () => ({ key: 1, ms: 0 }));
  const after = await crew.measure();
  const seconds = (performance.now() - startedAt) / 1000;
  await crew.letGo();
  const { runs, skipped } = await crew.report();
  const violations = [...(await crew.stop()), ...growth(before, after)];
  if (runs.length !== 1 || skipped !== count) violations.push(`${runs.length} ran, ${skipped} were skipped`);
  return {
    figures: `${skipped} of ${count} duplicates were skipped, ${seconds.toFixed(0)} s, ${heaps(before, after)}`,
    violations,
  };
}

/** A run: its key, when it began and ended, and its fence. */
type Ran = readonly [key: number, begun: number, ended: number, fence: number];

class LoadCrew {
  readonly #server: RedisServer;
  readonly #queue: Queue;
  readonly #members: readonly Child[];

  private constructor(server: RedisServer, queueName: string, members: readonly Child[]) {
    this.#server = server;
    this.#queue = new Queue(queueName, { connection: { port: server.port } });
    this.#members = members;
  }

  static async start(
    server: RedisServer,
    processes: number,
    concurrency: number,
    most: number,
  ): Promise<LoadCrew> {
    const queueName = uniqueName('load');
    const orders = { port: server.port, queueName, concurrency, most };
    const worker = new URL('./load-worker.ts', import.meta.url);
    const members = Array.from({ length: processes }, () => new Child(worker, orders, ['--expose-gc']));
    await Promise.all(members.map(member => member.hears('ready')));
    return new LoadCrew(server, queueName, members);
  }

  /** Adds jobs, and waits until they have ended. */
  async add(count: number, next: () => object): Promise<void> {
    for (let added = 0; added < count; added += BULK) {
      const size = Math.min(BULK, count - added);
      await this.#queue.addBulk(Array.from({ length: size }, () => jobOf(next())));
    }
    await until(async () => (await this.#open()) <= this.#holding, 'all jobs have ended', GIVE_UP);
  }

  #holding = 0;

  async hold(): Promise<void> {
    await this.#queue.addBulk([jobOf({ key: 1, ms: 0, holds: true })]);
    this.#holding = 1;
    await Promise.race(this.#members.map(member => member.hears('holding')));
  }

  async letGo(): Promise<void> {
    for (const member of this.#members) member.tell('finish');
    await until(async () => (await this.#open()) === 0, 'the holder has ended', GIVE_UP);
  }

  async #open(): Promise<number> {
    const counts = await this.#queue.getJobCounts('waiting', 'active', 'delayed', 'prioritized', 'failed');
    return Object.values(counts).reduce((sum, count) => sum + count, 0);
  }

  async measure(): Promise<Measured[]> {
    return (await this.#ask('measure', 'measured')) as unknown as Measured[];
  }

  async report(): Promise<{ runs: Ran[]; skipped: number }> {
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
    for (const member of this.#members) member.tell('stop');
    const ends = await Promise.all(this.#members.map(member => member.ended()));
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
      this.#members.map(async member => {
        const before = member.told.length;
        member.tell(question);
        await until(
          () => member.told.slice(before).some(told => told.event === event),
          `'${event}'`,
          GIVE_UP,
        );
        return member.told.slice(before).find(told => told.event === event) as Message;
      }),
    );
  }
}

function jobOf(data: object): { name: string; data: object; opts: object } {
  return { name: 'job', data, opts: { removeOnComplete: true } };
}

function growth(before: readonly Measured[], after: readonly Measured[]): string[] {
  return before.flatMap((first, i) => {
    const second = after[i] as Measured;
    const grown = (['timers', 'sockets', 'listeners'] as const).filter(what => second[what] > first[what]);
    if (second.heap > first.heap + NOISE) return [`the heap grew: ${heaps([first], [second])}`];
    return grown.map(what => `${what} grew from ${first[what]} to ${second[what]}`);
  });
}

function heaps(before: readonly Measured[], after: readonly Measured[]): string {
  const inMegabytes = (all: readonly Measured[]) =>
    Math.max(...all.map(({ heap }) => heap / 2 ** 20)).toFixed(1);
  return `heap ${inMegabytes(before)} MiB, then ${inMegabytes(after)} MiB`;
}

/** Runs of one key that overlap, or whose fences do not rise. */
function overlapsIn(runs: readonly Ran[]): string[] {
  const sorted = runs.toSorted(
    ([key, begun], [otherKey, otherBegun]) => key - otherKey || begun - otherBegun,
  );
  return sorted.flatMap(([key, begun, , fence], i) => {
    const [keyBefore, , endedBefore, fenceBefore] = sorted[i - 1] ?? [0, 0, 0, 0];
    if (key !== keyBefore || (begun >= endedBefore && fence > fenceBefore)) return [];
    return [`a run of key ${key} began ${endedBefore - begun} ms before the end of another`];
  });
}

async function leftIn(server: RedisServer, pattern: string): Promise<string[]> {
  const keys = (await server.call('KEYS', pattern)) as string[];
  return keys.length > 0 ? [`${keys.length} locks are left, such as ${keys[0]}`] : [];
}
