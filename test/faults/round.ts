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
import { chooseOptions, TTL } from './guard-options.ts';
import { type Entry, Recorder, readHistory } from './history.ts';
import type { Random } from './random.ts';
import type { Store } from './stores.ts';
import type { Task, WorkerSettings } from './worker.ts';
import { WorkerPool } from './worker-pool.ts';

const WORKERS = 3;
const KEYS = 5;
/** How many jobs may wait to be added. Those that can't be added now do not pile up. */
const MAX_ADDING = 50;
/** How long all jobs may take to end once nothing is broken any more, in ms. */
const MAX_DRAIN_MS = 60_000;

export interface Outcome {
  readonly injected: number;
  readonly jobs: number;
  readonly runs: number;
  readonly skipped: number;
  /** How often a job was parked, or delayed. */
  readonly parked: number;
  readonly shared: number;
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
  const name = uniqueName('faults');
  const queues = Array.from({ length: fault.queues ?? 1 }, (_, i) => store.queue(`${name}-${i}`));
  for (const queue of queues) queue.on('error', () => {});
  await Promise.all(queues.map(queue => queue.waitUntilReady()));
  const settings = settingsFor(fault, store, queues, folder, random);
  const pool = new WorkerPool({ ...settings, careless }, recorder);
  await pool.start(WORKERS);

  const producer = produce(queues, random.fork(), fault.noBackoff ? 0 : 100);
  const context = { store, queues, pool, random, recorder, ttl: TTL };
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

  for (const queue of queues) {
    await until(() => isDrained(queue), 'the queue is empty', MAX_DRAIN_MS).catch(() => {});
  }
  for (const queue of queues) await recordFinalStates(queue, recorder);
  // While the workers live, so that a lease that is renewed although its work has ended is found.
  await until(async () => (await store.locks(name)).length === 0, 'no lock is left', 3 * TTL).catch(() => {});
  recorder.record({ event: 'left-behind', storedKeys: await store.locks(name) });
  await pool.stop({ mayHang: fault.mayHang ?? false });
  recorder.close();
  await Promise.all(queues.map(queue => queue.close()));

  const history = readHistory(folder);
  const violations = check(history).map(({ guarantee, what }) => `${guarantee}: ${what}`);
  const count = (is: (entry: Entry) => boolean) => history.filter(is).length;
  const became = (outcome: string) =>
    count(entry => entry.event === 'processed' && entry.outcome === outcome);
  if (violations.length === 0) rmSync(folder, { recursive: true });
  return {
    injected,
    jobs: producer.added,
    runs: count(({ event }) => event === 'started'),
    skipped: became('skipped'),
    parked: became('parked'),
    shared: became('shared'),
    aborted: count(({ event }) => event === 'aborted'),
    violations,
    folder: violations.length === 0 ? undefined : folder,
  };
}

function settingsFor(
  fault: Fault,
  store: Store,
  queues: readonly Queue[],
  folder: string,
  random: Random,
): Omit<WorkerSettings, 'careless'> {
  return {
    folder,
    address: store.address,
    queueNames: queues.map(({ name }) => name),
    workersPerQueue: fault.workersPerQueue ?? 1,
    prefix: store.prefix,
    options: chooseOptions(random, queues.length > 1 ? queues[0]?.name : undefined),
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
function produce(queues: readonly Queue[], random: Random, backoff: number): Producer {
  let adding = 0;
  let added = 0;
  let stopped = false;
  const add = async (task: Task) => {
    adding++;
    // A job that could not be added is none.
    const queue = random.oneOf(queues);
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
    for (const job of jobs) {
      const result = job.returnvalue ? { result: job.returnvalue as string } : {};
      recorder.record({ event: 'final-state', owner: ownerOf(job as never), state, ...result });
    }
  }
}
