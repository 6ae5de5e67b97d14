/**
 * A worker under load, which counts its runs and measures its process. Argument: a JSON of { port, queueName, concurrency,
 * maxRuns }. It acts on the messages 'measure', 'report', 'finish' and 'stop', and answers the first two.
 */

import { setTimeout as delay } from 'node:timers/promises';
import { type Job, Worker } from 'bullmq';
import { type LockHandle, onceProcessor } from '../../src/index.ts';
import { now } from './history.ts';
import { measure } from './measure.ts';

const { port, queueName, concurrency, maxRuns } = JSON.parse(process.argv[2] as string);
const send = (message: object) => process.send?.(message);
const unhandled: string[] = [];
process.on('unhandledRejection', reason => unhandled.push(String(reason)));

/** The key, the start, the end and the fence of each run. Outside of the heap, which is measured. */
const runs = new Float64Array(maxRuns * 4);
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
  lock: LockHandle,
): Promise<string> {
  const startedAt = now();
  const { key, ms, holds } = job.data;
  if (holds) send({ event: 'holding' });
  await (holds ? finished : delay(ms));
  if (signal?.aborted) unhandled.push(`lost: ${signal.reason}`);
  runs.set([key, startedAt, now(), lock.fence], ran++ * 4);
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

process.on('message', async (message: string) => {
  if (message === 'measure') send({ event: 'measured', ...(await measure()), unhandled });
  if (message === 'report') send({ event: 'reported', skipped, runs: Array.from(runs.subarray(0, ran * 4)) });
  if (message === 'finish') finish();
  if (message === 'stop') {
    await worker.close();
    process.disconnect();
  }
});
await worker.waitUntilReady();
send({ event: 'ready' });
