/**
 * A worker under load, which keeps count of its runs and measures itself. Argument: a JSON of { port, queueName, concurrency,
 * most (runs) }. Told 'measure', 'report', 'finish' or 'stop', it answers with a message.
 */

import { setTimeout as delay } from 'node:timers/promises';
import { type Job, Worker } from 'bullmq';
import { type HeldLock, onceProcessor } from '../../src/index.ts';
import { now } from './history.ts';
import { measure } from './measure.ts';

const { port, queueName, concurrency, most } = JSON.parse(process.argv[2] as string);
const tell = (message: object) => process.send?.(message);
const unhandled: string[] = [];
process.on('unhandledRejection', reason => unhandled.push(String(reason)));

/** Of each run its key, when it began and ended, and its fence. Outside of the heap, which is measured. */
const runs = new Float64Array(most * 4);
let ran = 0;
let skipped = 0;
let finish = () => {};
const finished = new Promise<void>(resolve => {
  finish = resolve;
});

async function work(
  job: Job,
  _token: unknown,
  signal: AbortSignal | undefined,
  lock: HeldLock,
): Promise<string> {
  const begun = now();
  const { key, ms, holds } = job.data;
  if (holds) tell({ event: 'holding' });
  await (holds ? finished : delay(ms));
  if (signal?.aborted) unhandled.push(`lost: ${signal.reason}`);
  runs.set([key, begun, now(), lock.fence], ran++ * 4);
  return 'ran';
}

const guarded = onceProcessor(work, { key: 'k-{key}', ttl: 10_000 });
const worker = new Worker(
  queueName,
  async (job, token, signal) => {
    const result = await guarded(job, token, signal);
    if (result === undefined) skipped++;
    return result;
  },
  { connection: { port }, concurrency },
);
worker.on('error', error => unhandled.push(String(error)));

process.on('message', async (told: string) => {
  if (told === 'measure') tell({ event: 'measured', ...(await measure()), unhandled });
  if (told === 'report') tell({ event: 'reported', skipped, runs: Array.from(runs.subarray(0, ran * 4)) });
  if (told === 'finish') finish();
  if (told === 'stop') {
    await worker.close();
    process.disconnect();
  }
});
await worker.waitUntilReady();
tell({ event: 'ready' });
