/** In which order the server executes the release of a job's key and its completion. */

import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { Queue, Worker } from 'bullmq';
import { onceProcessor } from '../../../src/index.ts';
import { redisOptions, uniqueName, until } from '../../support/index.ts';

const JOBS = 100;

/** Runs jobs with a key each. @returns the keys of those that completed before their key was released. */
export async function completedBeforeReleased(connection: unknown): Promise<string[]> {
  const queue = new Queue(uniqueName('queue'), { connection: redisOptions() });
  const released = new Set<string>();
  const completed: string[] = [];
  const early: string[] = [];
  // Read from the socket: ioredis 6 does not understand the replies to a MONITOR.
  const monitor = connect(redisOptions());
  const lines = createInterface(monitor).on('line', line => {
    if (!line.includes(queue.name)) return;
    if (line.includes('"DEL"')) {
      for (const [, key] of line.matchAll(/::once:1:[^:]+:k-(\d+)"/g)) released.add(key as string);
    }
    const key = /"event" "completed" "jobId" "j(\d+)"/.exec(line)?.[1];
    if (key === undefined) return;
    completed.push(key);
    if (!released.has(key)) early.push(key);
  });
  monitor.write('MONITOR\r\n');
  await once(lines, 'line');
  const guarded = onceProcessor(async () => {}, { key: 'k-{i}' });
  const worker = new Worker(queue.name, guarded, { connection: connection as never, concurrency: 10 });
  worker.on('error', () => {});
  try {
    const numbers = Array.from({ length: JOBS }, (_, i) => i);
    await queue.addBulk(numbers.map(i => ({ name: 'job', data: { i }, opts: { jobId: `j${i}` } })));
    await until(() => completed.length === JOBS && released.size === JOBS, 'all jobs have completed');
    return early;
  } finally {
    monitor.destroy();
    await worker.close();
    await queue.obliterate({ force: true });
    await queue.close();
  }
}
