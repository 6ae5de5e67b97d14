/**
 * Two deploys while jobs run, each worker a process of its own. The first deploy keeps the key: the old process gets SIGTERM, ends its
 * job and releases its lock, and the new one goes on. The second deploy changes the key's template. The keys of both versions do not
 * exclude each other, so the queue is paused until the old version has gone.
 */

import { type ChildProcess, fork } from 'node:child_process';
import { once as eventOf } from 'node:events';
import { fileURLToPath } from 'node:url';
import { type Job, Queue, Worker } from 'bullmq';
import { onceProcessor } from 'bullmq-once';

const connection = { url: process.env.REDIS_URL ?? 'redis://127.0.0.1:6379' };
const [version = ''] = process.argv.slice(2);
const KEYS: Record<string, string> = {
  v1: 'import-{tenant}',
  v2: 'import-{tenant}',
  v3: 'import-{region}-{tenant}',
};

async function importFile(job: Job<{ region: string; tenant: string; file: number }>): Promise<string> {
  await new Promise(resolve => setTimeout(resolve, 400));
  return `file ${job.data.file} by ${version}`;
}

function runWorker(key: string): void {
  const guarded = onceProcessor(importFile, { key, whenLocked: 'in-order' });
  const worker = new Worker('deployed-imports', guarded, { connection, concurrency: 5 });
  process.once('SIGTERM', async () => {
    // Waits for the jobs that run. Their locks are released; what is parked goes on in other processes.
    await worker.close();
    process.exit(0);
  });
}

async function deploy(): Promise<void> {
  const queue = new Queue('deployed-imports', { connection });
  await queue.obliterate({ force: true });
  const jobs = [1, 2, 3, 4].map(file => ({ name: 'import', data: { region: 'eu', tenant: 'acme', file } }));
  const added = await queue.addBulk(jobs);

  const first = start('v1');
  await until(async () => (await queue.getActiveCount()) > 0);
  const second = start('v2');
  await stop(first);
  await until(async () => (await queue.getCompletedCount()) >= 2);

  // The template changes: nothing may run under the old key while something runs under the new one.
  await queue.pause();
  await until(async () => (await queue.getActiveCount()) === 0);
  await stop(second);
  const third = start('v3');
  await queue.resume();

  await until(async () => (await queue.getCompletedCount()) === 4);
  await stop(third);
  for (const { id } of added) console.log((await queue.getJob(id as string))?.returnvalue);
  await queue.close();
}

function start(name: string): ChildProcess {
  return fork(fileURLToPath(import.meta.url), [name], { execArgv: process.execArgv });
}

async function stop(child: ChildProcess): Promise<void> {
  child.kill('SIGTERM');
  await eventOf(child, 'exit');
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise(resolve => setTimeout(resolve, 20));
}

const key = KEYS[version];
if (key) runWorker(key);
else await deploy();
