/**
 * Workers that record all they see. Argument: a JSON of {@link WorkerSettings}. They act on each {@link WorkerMessage}, and stop at a
 * SIGTERM.
 */

import { setTimeout as delay } from 'node:timers/promises';
import { createPostgresBackend, type Job, Worker, type WorkerOptions, withBackend } from 'bullmq';
import { Cluster, type ClusterNode, type RedisOptions } from 'ioredis';
import pg from 'pg';
import { ownerOf } from '../../src/bullmq/job.ts';
import { type LockCache, type LockHandle, onceProcessor, RedisCache } from '../../src/index.ts';
import { jobName } from '../../src/key/stored-name.ts';
import { PostgresCache } from '../../src/postgres.ts';
import { CarelessCache } from './careless-cache.ts';
import { jumpDate, setClockRate } from './clocks.ts';
import { now, Recorder } from './history.ts';
import { recordCalls } from './recorded-cache.ts';

/** How a worker finds its datastore. */
export type Address =
  | { readonly redis: RedisOptions }
  | { readonly nodes: readonly ClusterNode[] }
  | {
      readonly postgres: string;
      /** Where the locks are reached; else where the queue is. */
      readonly locks?: string;
    };

export interface WorkerSettings {
  /** The folder of the history. */
  readonly folder: string;
  readonly address: Address;
  readonly queueNames: readonly string[];
  /** How many workers a process has for each queue. */
  readonly workersPerQueue: number;
  readonly prefix: string | undefined;
  /** Options of `onceProcessor`. */
  readonly options: { readonly scope?: string };
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
const { folder, address, queueNames, workersPerQueue, prefix, options, clockRate, careless } = settings;
const recorder = new Recorder(folder);
for (const event of ['unhandledRejection', 'uncaughtException']) {
  process.on(event, (problem: unknown) => {
    recorder.record({ event: 'unhandled', problem: `${event}: ${(problem as Error).stack ?? problem}` });
  });
}
for (const { prototype } of [RedisCache, PostgresCache, CarelessCache]) recordCalls(prototype, recorder);
if (clockRate !== 1) setClockRate(clockRate);

let runs = 0;
/** The jobs that have run here themselves, whatever their guard returned. */
const ran = new WeakSet<Job>();
async function work(
  job: Job<Task>,
  _token: unknown,
  signal: AbortSignal | undefined,
  lock: LockHandle,
): Promise<string> {
  const run = ++runs;
  ran.add(job);
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
  const result = `run ${run} of ${process.pid}`;
  recorder.record({ event: 'ended', run, outcome: 'finished', result });
  return result;
}

const cache = namedCache();
const guarded = onceProcessor(work, cache ? { ...options, cache: cache.locks } : options);
async function processor(job: Job<Task>, token?: string, signal?: AbortSignal): Promise<unknown> {
  const run = { owner: ownerOf(job), attempt: job.attemptsStarted };
  const storedKey = jobName(job, options.scope, `k-${job.data.key}`);
  recorder.record({ event: 'received', ...run, storedKey });
  try {
    const result = (await guarded(job, token, signal)) as string | undefined;
    const unrun = result === undefined ? 'skipped' : 'shared';
    const outcome = ran.has(job) ? 'finished' : unrun;
    recorder.record({ event: 'processed', ...run, outcome, ...(result !== undefined && { result }) });
    return result;
  } catch (error) {
    const { code } = error as { code?: string };
    const outcome = (error as Error).name === 'DelayedError' ? 'parked' : 'failed';
    recorder.record({ event: 'processed', ...run, outcome, ...(code !== undefined && { code }) });
    throw error;
  }
}

/** The cache of the locks, where it is not on the queue's own connection. */
function namedCache(): { readonly locks: LockCache; close(): unknown } | undefined {
  if (careless && 'redis' in address) {
    const locks = new CarelessCache(address.redis.port as number);
    return { locks, close: () => locks.close() };
  }
  if (!('locks' in address)) return undefined;
  const pool = new pg.Pool({ connectionString: address.locks });
  pool.on('error', () => {});
  return { locks: new PostgresCache(pool), close: () => pool.end() };
}

const { WorkerClass, connection } = connect(address);
const workers = queueNames.flatMap(name => Array.from({ length: workersPerQueue }, () => startWorker(name)));

function startWorker(queueName: string): Worker {
  const worker = new WorkerClass(queueName, processor as never, {
    ...settings.worker,
    connection: connection as never,
    ...(prefix === undefined ? {} : { prefix }),
  });
  worker.on('error', () => {});
  worker.on('completed', job => recorder.record({ event: 'completed', owner: ownerOf(job) }));
  return worker;
}

async function stop(): Promise<void> {
  await Promise.all(workers.map(worker => worker.close()));
  if (connection instanceof Cluster) connection.disconnect();
  await cache?.close();
  // Nothing is left to do, so the process ends by itself.
  if (process.connected) process.disconnect();
}

process.on('SIGTERM', stop);
process.on('message', (message: WorkerMessage) => {
  if ('block' in message) {
    const end = now() + message.block;
    while (now() < end);
  } else if ('jump' in message) {
    jumpDate(message.jump);
  } else {
    void stop();
  }
});
await Promise.all(workers.map(worker => worker.waitUntilReady()));
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
