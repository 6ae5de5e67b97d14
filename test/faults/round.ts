/** One round: workers run jobs while a fault is injected again and again. Then all jobs end, and the history is checked. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Job, Queue } from 'bullmq';
import { ownerOf } from '../../src/bullmq/job.ts';
import { uniqueName, until } from '../support/index.ts';
import { check } from './checker.ts';
import type { Fault } from './faults.ts';
import { Recorder, readHistory } from './history.ts';
import type { Random } from './random.ts';
import type { Store } from './stores.ts';
import type { Task, WorkerSettings } from './worker.ts';
import { WorkerPool } from './worker-pool.ts';

const TTL = 1000;
const WORKERS = 3;
const KEYS = 5;
/** How many jobs may wait to be added. Those that can't be added now do not pile up. */
const MAX_ADDING = 50;
/** How long all jobs may take to end once nothing is broken any more, in ms. */
const MAX_DRAIN_MS = 60_000;

/** The options of the guard: each round has one of these. */
const OPTIONS: readonly object[] = [
  {},
  { dedupeFor: 300 },
  { raiseIfLock: true },
  { whenLocked: { waitFor: TTL } },
  { whenLocked: { delay: 200, limit: 5 } },
];

export interface Outcome {
  readonly injected: number;
  readonly jobs: number;
  readonly runs: number;
  readonly skipped: number;
  /** Signals that aborted. */
  readonly aborted: number;
  readonly violations: readonly string[];
  /** The folder of the history, where it has violations. */
  readonly folder: string | undefined;
}

/**
 * @param ms - for how long the fault is injected.
 * @param careless - the locks are not ours, but those of a `CarelessCache`.
 */
export async function playRound(
  fault: Fault,
  store: Store,
  random: Random,
  ms: number,
  { careless = false }: { careless?: boolean } = {},
): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), 'bullmq-once-faults-'));
  const recorder = new Recorder(folder);
  const queueName = uniqueName('faults');
  const queue = store.queue(queueName);
  queue.on('error', () => {});
  await queue.waitUntilReady();
  const settings = settingsFor(fault, store, queueName, folder, random);
  const pool = new WorkerPool({ ...settings, careless }, recorder);
  await pool.start(WORKERS);

  const producer = produce(queue, random.fork(), fault.noBackoff ? 0 : 100);
  const context = { store, pool, random, recorder, ttl: TTL };
  let injected = 0;
  const end = performance.now() + ms;
  while (performance.now() < end) {
    await delay(random.between(100, 600));
    if (injected === (fault.maxPerRound ?? Number.POSITIVE_INFINITY)) continue;
    recorder.record({ event: 'outage-begins' });
    await fault.inject(context);
    recorder.record({ event: 'outage-ends' });
    injected++;
  }
  await store.repair();
  await producer.stop();

  await until(() => isDrained(queue), 'the queue is empty', MAX_DRAIN_MS).catch(() => {});
  await recordFinalStates(queue, recorder);
  // While the workers live, so that a lease that is renewed although its work has ended is found.
  await until(async () => (await store.locks(queueName)).length === 0, 'no lock is left', 3 * TTL).catch(
    () => {},
  );
  recorder.record({ event: 'left-behind', storedKeys: await store.locks(queueName) });
  await pool.stop({ mayHang: fault.mayHang ?? false });
  recorder.close();
  await queue.close();

  const history = readHistory(folder);
  const violations = check(history).map(({ guarantee, what }) => `${guarantee}: ${what}`);
  const count = (is: (entry: (typeof history)[number]) => boolean) => history.filter(is).length;
  if (violations.length === 0) rmSync(folder, { recursive: true });
  return {
    injected,
    jobs: producer.added,
    runs: count(({ event }) => event === 'started'),
    skipped: count(entry => entry.event === 'processed' && entry.outcome === 'skipped'),
    aborted: count(({ event }) => event === 'aborted'),
    violations,
    folder: violations.length === 0 ? undefined : folder,
  };
}

function settingsFor(
  fault: Fault,
  store: Store,
  queueName: string,
  folder: string,
  random: Random,
): Omit<WorkerSettings, 'careless'> {
  return {
    folder,
    address: store.address,
    queueName,
    prefix: store.prefix,
    options: { key: 'k-{key}', ttl: TTL, ...random.oneOf(OPTIONS) },
    worker: {
      concurrency: 4,
      // Shorter or longer than a lease: a job whose worker died runs again before its lease ends, or after.
      lockDuration: random.oneOf([TTL / 2, 2 * TTL]),
      stalledInterval: TTL / 4,
      // Whatever a fault does to a worker, its jobs run again.
      maxStalledCount: 1000,
    },
    clockRate: fault.clockRate ?? 1,
  };
}

interface Producer {
  readonly added: number;
  stop(): Promise<void>;
}

/** Adds jobs of a few keys until it is stopped. */
function produce(queue: Queue, random: Random, backoff: number): Producer {
  let adding = 0;
  let added = 0;
  let stopped = false;
  const add = async (task: Task) => {
    adding++;
    // A job that could not be added is none.
    await queue.add('job', task, { attempts: 100, backoff }).then(
      () => added++,
      () => {},
    );
    adding--;
  };
  const going = (async () => {
    while (!stopped) {
      await delay(random.between(5, 50));
      if (adding < MAX_ADDING) void add(taskFrom(random));
    }
    await until(() => adding === 0, 'all jobs are added', MAX_DRAIN_MS);
  })();
  return {
    get added() {
      return added;
    },
    stop() {
      stopped = true;
      return going;
    },
  };
}

function taskFrom(random: Random): Task {
  return {
    key: random.between(1, KEYS),
    ms: random.chance(0.15) ? random.between(TTL / 2, TTL * 1.5) : random.between(0, 80),
    stubborn: random.chance(0.3),
    failures: random.chance(0.1) ? 1 : 0,
  };
}

async function isDrained(queue: Queue): Promise<boolean> {
  const counts = await queue.getJobCounts().catch(() => ({ unknown: 1 }) as Record<string, number>);
  const { completed, failed, ...others } = counts;
  return Object.values(others).every(count => count === 0);
}

async function recordFinalStates(queue: Queue, recorder: Recorder): Promise<void> {
  for (const state of ['completed', 'failed', 'active', 'waiting', 'delayed', 'prioritized'] as const) {
    const jobs: Job[] = await queue.getJobs([state]);
    for (const job of jobs) recorder.record({ event: 'final-state', owner: ownerOf(job as never), state });
  }
}
