/** A guarded worker under load, on a connection that a test has configured, and what became of its jobs. */

import { type Job, Queue, Worker } from 'bullmq';
import { type LockEvent, onceProcessor } from '../../../src/index.ts';
import { connectRedis, uniqueName, until } from '../../support/index.ts';

const JOBS = 150;
const KEYS = 10;
/** All jobs of a key wait for it in their slots, so a batch has several keys. */
const CONCURRENCY = 20;

/** What became of the jobs. */
export interface LoadReport {
  readonly completed: number;
  /** Why jobs failed. */
  readonly failures: readonly string[];
  /** How often two jobs of one key ran at once. */
  readonly overlaps: number;
  /** What the guard reported of its cache and of lost leases. */
  readonly troubles: readonly string[];
  /** The keys that are held after all jobs have finished. */
  readonly held: readonly string[];
}

/** What is expected of every connection. */
export const ALL_WELL: LoadReport = { completed: JOBS, failures: [], overlaps: 0, troubles: [], held: [] };

/**
 * Runs jobs of a few keys. The server has none of the scripts when they start.
 * @param connection - what a user passes to BullMQ's `Worker`.
 * @param db - the database of Redis that the connection uses.
 */
export async function runUnderLoad(
  connection: unknown,
  { db = 0 }: { db?: number | undefined } = {},
): Promise<LoadReport> {
  const plain = connectRedis({ db });
  const queue = new Queue(uniqueName('queue'), { connection: plain });
  const events: LockEvent[] = [];
  const failures: string[] = [];
  const running = new Set<number>();
  let completed = 0;
  let overlaps = 0;
  async function work({ data: { key } }: Job): Promise<void> {
    if (running.has(key)) overlaps++;
    running.add(key);
    await new Promise(resolve => setTimeout(resolve, 2));
    running.delete(key);
  }
  const guarded = onceProcessor(work, {
    key: 'k-{key}',
    whenLocked: { waitFor: 40_000 },
    raiseIfLock: true,
    onEvent: event => events.push(event),
  });
  await plain.script('FLUSH');
  const worker = new Worker(queue.name, guarded, {
    connection: connection as never,
    concurrency: CONCURRENCY,
  });
  worker.on('error', () => {});
  worker.on('completed', () => completed++);
  worker.on('failed', (_job, error) => failures.push(error.message));
  try {
    const jobs = Array.from({ length: JOBS }, (_, i) => ({ name: 'job', data: { key: i % KEYS } }));
    await queue.addBulk(jobs);
    await until(() => completed + failures.length >= JOBS, 'all jobs have finished', 50_000);
    const troubles = events
      .filter(({ type }) => type === 'cache-error' || type === 'lost')
      .map(event => JSON.stringify(event));
    const held = await plain.keys(`bull:${queue.name}::once:*`);
    return { completed, failures, overlaps, troubles, held };
  } finally {
    await worker.close();
    await queue.obliterate({ force: true });
    await queue.close();
    plain.disconnect();
  }
}
