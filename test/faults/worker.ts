/**
 * A worker that writes down all it sees. Argument: a JSON of {@link Orders}. It is told things by messages, see {@link Told}.
 */

import { setTimeout as delay } from 'node:timers/promises';
import { createPostgresBackend, type Job, Worker, type WorkerOptions, withBackend } from 'bullmq';
import { Cluster, type ClusterNode, type RedisOptions } from 'ioredis';
import { ownerOf } from '../../src/bullmq/job.ts';
import { type HeldLock, onceProcessor, RedisCache } from '../../src/index.ts';
import { PostgresCache } from '../../src/postgres.ts';
import { CarelessCache } from './careless-cache.ts';
import { jumpDate, missetClock } from './clocks.ts';
import { now, Recorder } from './history.ts';
import { recordAll } from './recorded-cache.ts';

/** How a worker finds its datastore. */
export type Address =
  | { readonly redis: RedisOptions }
  | { readonly nodes: readonly ClusterNode[] }
  | { readonly postgres: string };

export interface Orders {
  /** The history's. */
  readonly folder: string;
  readonly address: Address;
  readonly queueName: string;
  readonly prefix: string | undefined;
  /** Options of `onceProcessor`. */
  readonly options: object;
  readonly worker: Partial<WorkerOptions>;
  /** How fast this process's monotonic clock goes; 1 is right. */
  readonly clock: number;
  /** Its locks are not ours, but a {@link CarelessCache}'s. */
  readonly careless: boolean;
}

/** Block the event loop for some ms; let `Date` jump by some ms; stop. */
export type Told = { readonly block: number } | { readonly jump: number } | { readonly stop: true };

/** What the work of a job is to do. */
export interface Task {
  readonly key: number;
  /** How long it takes, in ms. */
  readonly ms: number;
  /** It goes on when its signal aborts. */
  readonly stubborn: boolean;
  /** How many of its first attempts fail. */
  readonly failures: number;
}

const STEP = 10;
const { folder, address, queueName, prefix, options, worker: workerOptions, clock, careless } = readOrders();
const recorder = new Recorder(folder);
for (const event of ['unhandledRejection', 'uncaughtException']) {
  process.on(event, (problem: unknown) => {
    recorder.write({ event: 'unhandled', problem: `${event}: ${(problem as Error).stack ?? problem}` });
  });
}
for (const { prototype } of [RedisCache, PostgresCache, CarelessCache]) recordAll(prototype, recorder);
if (clock !== 1) missetClock(clock);

let runs = 0;
async function work(
  job: Job<Task>,
  _token: unknown,
  signal: AbortSignal | undefined,
  lock: HeldLock,
): Promise<string> {
  const run = ++runs;
  const { ms, stubborn, failures } = job.data;
  recorder.write({ event: 'run', run, owner: ownerOf(job), fence: lock.fence });
  signal?.addEventListener('abort', () =>
    recorder.write({ event: 'abort', run, why: String(signal.reason) }),
  );
  const step = () => {
    const at = now();
    const [held, aborted] = [lock.held, signal?.aborted === true];
    recorder.write({ event: 'step', run, held, aborted }, at);
  };

  const end = now() + ms;
  for (step(); now() < end; step()) {
    await delay(STEP);
    if (!signal?.aborted || stubborn) continue;
    recorder.write({ event: 'ran', run, outcome: 'gave up' });
    throw signal.reason;
  }
  if (job.attemptsMade < failures) {
    recorder.write({ event: 'ran', run, outcome: 'failed' });
    throw new Error('it was to fail');
  }
  recorder.write({ event: 'ran', run, outcome: 'finished' });
  return 'finished';
}

const cache = careless && 'redis' in address ? new CarelessCache(address.redis.port as number) : undefined;
const guarded = onceProcessor(work, cache ? { ...options, cache } : options);
async function processor(job: Job<Task>, token?: string, signal?: AbortSignal): Promise<unknown> {
  const about = { owner: ownerOf(job), attempt: job.attemptsStarted };
  recorder.write({ event: 'came', ...about, key: `${job.queueQualifiedName}::once:1:k-${job.data.key}` });
  try {
    const result = await guarded(job, token, signal);
    recorder.write({ event: 'processed', ...about, outcome: result === undefined ? 'skipped' : 'finished' });
    return result;
  } catch (error) {
    const { code } = error as { code?: string };
    recorder.write({
      event: 'processed',
      ...about,
      outcome: 'failed',
      ...(code === undefined ? {} : { code }),
    });
    throw error;
  }
}

const { WorkerClass, connection } = connect(address);
const worker = new WorkerClass(queueName, processor as never, {
  ...workerOptions,
  connection: connection as never,
  ...(prefix === undefined ? {} : { prefix }),
});
worker.on('error', () => {});
worker.on('completed', job => recorder.write({ event: 'completed', owner: ownerOf(job) }));

process.on('message', async (told: Told) => {
  if ('block' in told) {
    const end = now() + told.block;
    while (now() < end);
  } else if ('jump' in told) {
    jumpDate(told.jump);
  } else {
    await worker.close();
    if (connection instanceof Cluster) connection.disconnect();
    cache?.close();
    // Nothing is left to do: it ends by itself.
    process.disconnect();
  }
});
await worker.waitUntilReady();
process.send?.({ event: 'ready' });

function readOrders(): Orders {
  return JSON.parse(process.argv[2] as string);
}

function connect(to: Address): { WorkerClass: typeof Worker; connection: unknown } {
  if ('postgres' in to) {
    const { Worker: OnPostgres } = withBackend(createPostgresBackend);
    return { WorkerClass: OnPostgres as never, connection: { connectionString: to.postgres } };
  }
  const patience = { maxRetriesPerRequest: null, retryStrategy: () => 50, sentinelRetryStrategy: () => 50 };
  if ('redis' in to) return { WorkerClass: Worker, connection: { ...to.redis, ...patience } };
  const cluster = new Cluster([...to.nodes], { redisOptions: patience, clusterRetryStrategy: () => 50 });
  cluster.on('error', () => {});
  return { WorkerClass: Worker, connection: cluster };
}
