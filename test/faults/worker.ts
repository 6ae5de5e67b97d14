/** A worker that records all it sees. Argument: a JSON of {@link WorkerSettings}. It acts on each {@link WorkerMessage}. */

import { setTimeout as delay } from 'node:timers/promises';
import { createPostgresBackend, type Job, Worker, type WorkerOptions, withBackend } from 'bullmq';
import { Cluster, type ClusterNode, type RedisOptions } from 'ioredis';
import { ownerOf } from '../../src/bullmq/job.ts';
import { type LockHandle, onceProcessor, RedisCache } from '../../src/index.ts';
import { queueName as nameInQueue } from '../../src/key/stored-name.ts';
import { PostgresCache } from '../../src/postgres.ts';
import { CarelessCache } from './careless-cache.ts';
import { jumpDate, setClockRate } from './clocks.ts';
import { now, Recorder } from './history.ts';
import { recordCalls } from './recorded-cache.ts';

/** How a worker finds its datastore. */
export type Address =
  | { readonly redis: RedisOptions }
  | { readonly nodes: readonly ClusterNode[] }
  | { readonly postgres: string };

export interface WorkerSettings {
  /** The folder of the history. */
  readonly folder: string;
  readonly address: Address;
  readonly queueName: string;
  readonly prefix: string | undefined;
  /** Options of `onceProcessor`. */
  readonly options: object;
  readonly worker: Partial<WorkerOptions>;
  /** How fast the monotonic clock of this process runs; 1 is right. */
  readonly clockRate: number;
  /** The locks are not ours, but those of a {@link CarelessCache}. */
  readonly careless: boolean;
}

/** Block the event loop for some ms; let `Date` jump by some ms; stop. */
export type WorkerMessage = { readonly block: number } | { readonly jump: number } | { readonly stop: true };

/** What a job does. */
export interface Task {
  readonly key: number;
  /** How long it runs, in ms. */
  readonly ms: number;
  /** It goes on after its signal has aborted. */
  readonly stubborn: boolean;
  /** How many of its first attempts fail. */
  readonly failures: number;
}

const STEP_MS = 10;
const settings: WorkerSettings = JSON.parse(process.argv[2] as string);
const { folder, address, queueName, prefix, options, clockRate, careless } = settings;
const recorder = new Recorder(folder);
for (const event of ['unhandledRejection', 'uncaughtException']) {
  process.on(event, (problem: unknown) => {
    recorder.record({ event: 'unhandled', problem: `${event}: ${(problem as Error).stack ?? problem}` });
  });
}
for (const { prototype } of [RedisCache, PostgresCache, CarelessCache]) recordCalls(prototype, recorder);
if (clockRate !== 1) setClockRate(clockRate);

let runs = 0;
async function work(
  job: Job<Task>,
  _token: unknown,
  signal: AbortSignal | undefined,
  lock: LockHandle,
): Promise<string> {
  const run = ++runs;
  const { ms, stubborn, failures } = job.data;
  recorder.record({ event: 'started', run, owner: ownerOf(job), fence: lock.fence });
  signal?.addEventListener('abort', () =>
    recorder.record({ event: 'aborted', run, reason: String(signal.reason) }),
  );
  const step = () => {
    const at = now();
    const [held, aborted] = [lock.held, signal?.aborted === true];
    recorder.record({ event: 'step', run, held, aborted }, at);
  };

  const end = now() + ms;
  for (step(); now() < end; step()) {
    await delay(STEP_MS);
    if (!signal?.aborted || stubborn) continue;
    recorder.record({ event: 'ended', run, outcome: 'gave up' });
    throw signal.reason;
  }
  if (job.attemptsMade < failures) {
    recorder.record({ event: 'ended', run, outcome: 'failed' });
    throw new Error('this attempt fails');
  }
  recorder.record({ event: 'ended', run, outcome: 'finished' });
  return 'finished';
}

const cache = careless && 'redis' in address ? new CarelessCache(address.redis.port as number) : undefined;
const guarded = onceProcessor(work, cache ? { ...options, cache } : options);
async function processor(job: Job<Task>, token?: string, signal?: AbortSignal): Promise<unknown> {
  const run = { owner: ownerOf(job), attempt: job.attemptsStarted };
  const storedKey = nameInQueue(job.queueQualifiedName, `k-${job.data.key}`);
  recorder.record({ event: 'received', ...run, storedKey });
  try {
    const result = await guarded(job, token, signal);
    recorder.record({ event: 'processed', ...run, outcome: result === undefined ? 'skipped' : 'finished' });
    return result;
  } catch (error) {
    const { code } = error as { code?: string };
    recorder.record({
      event: 'processed',
      ...run,
      outcome: 'failed',
      ...(code === undefined ? {} : { code }),
    });
    throw error;
  }
}

const { WorkerClass, connection } = connect(address);
const worker = new WorkerClass(queueName, processor as never, {
  ...settings.worker,
  connection: connection as never,
  ...(prefix === undefined ? {} : { prefix }),
});
worker.on('error', () => {});
worker.on('completed', job => recorder.record({ event: 'completed', owner: ownerOf(job) }));

process.on('message', async (message: WorkerMessage) => {
  if ('block' in message) {
    const end = now() + message.block;
    while (now() < end);
  } else if ('jump' in message) {
    jumpDate(message.jump);
  } else {
    await worker.close();
    if (connection instanceof Cluster) connection.disconnect();
    cache?.close();
    // Nothing is left to do, so the process ends by itself.
    process.disconnect();
  }
});
await worker.waitUntilReady();
process.send?.({ event: 'ready' });

function connect(to: Address): { WorkerClass: typeof Worker; connection: unknown } {
  if ('postgres' in to) {
    const { Worker: OnPostgres } = withBackend(createPostgresBackend);
    return { WorkerClass: OnPostgres as never, connection: { connectionString: to.postgres } };
  }
  const retries = { maxRetriesPerRequest: null, retryStrategy: () => 50, sentinelRetryStrategy: () => 50 };
  if ('redis' in to) return { WorkerClass: Worker, connection: { ...to.redis, ...retries } };
  const cluster = new Cluster([...to.nodes], { redisOptions: retries, clusterRetryStrategy: () => 50 });
  cluster.on('error', () => {});
  return { WorkerClass: Worker, connection: cluster };
}
