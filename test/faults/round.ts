/** One round: workers run jobs while a fault is injected again and again; then all is left to end, and is checked. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Job, Queue } from 'bullmq';
import { ownerOf } from '../../src/bullmq/job.ts';
import { uniqueName, until } from '../support/index.ts';
import { check } from './checker.ts';
import { Crew } from './crew.ts';
import type { Fault } from './faults.ts';
import { Recorder, readHistory } from './history.ts';
import type { Random } from './random.ts';
import type { Store } from './stores.ts';
import type { Orders, Task } from './worker.ts';

const TTL = 1000;
const WORKERS = 3;
const KEYS = 5;
/** So many jobs may wait to be added: what can't be added now is not piled up. */
const MOST_ADDING = 50;
/** How long all may take to end once nothing is broken any more, in ms. */
const PATIENCE = 60_000;

/** What becomes of a duplicate: each round has one of these. */
const OPTIONS: readonly object[] = [
  {},
  { keepFor: 300 },
  { raiseIfLock: true },
  { whenLocked: { waitFor: TTL } },
  { whenLocked: { retryIn: 200, limit: 5 } },
];

export interface Outcome {
  readonly injected: number;
  readonly jobs: number;
  readonly runs: number;
  readonly skipped: number;
  /** Runs whose signal aborted. */
  readonly aborted: number;
  readonly violations: readonly string[];
  /** Where the history is, if it is to be looked at. */
  readonly folder: string | undefined;
}

/**
 * @param ms - for how long the fault is injected.
 * @param careless - the locks are not ours, but such as the checker should find fault with.
 */
export async function playRound(
  fault: Fault,
  store: Store,
  random: Random,
  ms: number,
  careless: boolean = false,
): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), 'bullmq-once-faults-'));
  const recorder = new Recorder(folder);
  const queueName = uniqueName('faults');
  const queue = store.queue(queueName);
  queue.on('error', () => {});
  await queue.waitUntilReady();
  const crew = new Crew({ ...ordersFor(fault, store, queueName, folder, random), careless }, recorder);
  await crew.join(WORKERS);

  const producer = produce(queue, random.fork(), fault.noBackoff ? 0 : 100);
  const ground = { store, crew, random, recorder, ttl: TTL };
  let injected = 0;
  const end = performance.now() + ms;
  while (performance.now() < end) {
    await delay(random.between(100, 600));
    if (injected === (fault.most ?? Number.POSITIVE_INFINITY)) continue;
    recorder.write({ event: 'silent' });
    await fault.inject(ground);
    recorder.write({ event: 'answers' });
    injected++;
  }
  await store.heal();
  await producer.stop();

  await until(() => isDrained(queue), `the queue is empty`, PATIENCE).catch(() => {});
  await recordFinals(queue, recorder);
  // While the workers live: nobody renews what nobody works under.
  await until(async () => (await store.locks(queueName)).length === 0, 'no lock is left', 3 * TTL).catch(
    () => {},
  );
  recorder.write({ event: 'left', keys: await store.locks(queueName) });
  await crew.stop(fault.mayHang ?? false);
  recorder.close();
  await queue.close();

  const history = readHistory(folder);
  const violations = check(history).map(({ promise, what }) => `${promise}: ${what}`);
  const count = (is: (entry: (typeof history)[number]) => boolean) => history.filter(is).length;
  if (violations.length === 0) rmSync(folder, { recursive: true });
  return {
    injected,
    jobs: producer.added,
    runs: count(({ event }) => event === 'run'),
    skipped: count(entry => entry.event === 'processed' && entry.outcome === 'skipped'),
    aborted: count(({ event }) => event === 'abort'),
    violations,
    folder: violations.length === 0 ? undefined : folder,
  };
}

function ordersFor(
  fault: Fault,
  store: Store,
  queueName: string,
  folder: string,
  random: Random,
): Omit<Orders, 'careless'> {
  return {
    folder,
    address: store.address,
    queueName,
    prefix: store.prefix,
    options: { key: 'k-{key}', ttl: TTL, ...random.oneOf(OPTIONS) },
    worker: {
      concurrency: 4,
      // Shorter than a lease: a job whose worker died is run again while its lease lasts.
      lockDuration: random.oneOf([TTL / 2, 2 * TTL]),
      stalledInterval: TTL / 4,
      // Whatever a fault does to a worker, its jobs are run again.
      maxStalledCount: 1000,
    },
    clock: fault.clock ?? 1,
  };
}

interface Producer {
  readonly added: number;
  stop(): Promise<void>;
}

/** Adds jobs of few keys, until it is stopped. */
function produce(queue: Queue, random: Random, backoff: number): Producer {
  let adding = 0;
  let added = 0;
  let stopped = false;
  const add = async (task: Task) => {
    adding++;
    // What could not be added is no job.
    await queue.add('job', task, { attempts: 100, backoff }).then(
      () => added++,
      () => {},
    );
    adding--;
  };
  const going = (async () => {
    while (!stopped) {
      await delay(random.between(5, 50));
      if (adding < MOST_ADDING) void add(taskFrom(random));
    }
    await until(() => adding === 0, 'all jobs are added', PATIENCE);
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

async function recordFinals(queue: Queue, recorder: Recorder): Promise<void> {
  for (const state of ['completed', 'failed', 'active', 'waiting', 'delayed', 'prioritized'] as const) {
    const jobs: Job[] = await queue.getJobs([state]);
    for (const job of jobs) recorder.write({ event: 'final', owner: ownerOf(job as never), state });
  }
}
