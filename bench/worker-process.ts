/**
 * A process that runs a BullMQ worker under one guard, once for each message. The worker lives on as long as the messages name the same
 * queue, and no garbage collection is forced, as in production: V8 throws optimised code away with the objects that it was made for, and
 * at every collection that is asked for. Code that is cold takes twice as long, and the larger guard suffers most.
 */

import type { Worker } from 'bullmq';
import { guards } from './guards.ts';
import { type Servers, type Store, workerOn } from './stores.ts';

export interface Task {
  readonly guard: string;
  readonly store: Store;
  readonly servers: Servers;
  readonly queue: string;
  readonly concurrency: number;
}

export interface Outcome {
  /** From the worker's start to the end of its last job, in ms. */
  readonly took: number;
  /** How many jobs this process ended. */
  readonly jobs: number;
  /** CPU time of this process, in microseconds. */
  readonly cpu: number;
}

interface Guarding {
  readonly queue: string;
  readonly worker: Worker;
  close(): Promise<void>;
}

let guarding: Guarding | undefined;

process.on('message', async (task: Task) => {
  if (guarding?.queue !== task.queue) {
    await guarding?.close();
    guarding = await start(task);
  }
  process.send?.(await work(guarding.worker));
});

async function start({ guard: name, store, servers, queue, concurrency }: Task): Promise<Guarding> {
  const guard = guards.find(one => one.name === name);
  if (!guard) throw new Error(`there is no guard named '${name}'`);
  const guarded = await guard.wrap(async () => {}, servers, store);
  const options = { concurrency, autorun: false };
  const { worker, close } = workerOn(store, servers, queue, guarded.processor, options);
  worker.on('error', console.error);
  worker.on('failed', (_, error) => {
    throw error;
  });
  await worker.waitUntilReady();
  return {
    queue,
    worker,
    async close() {
      await worker.close();
      await close();
      await guarded.close();
    },
  };
}

/** Runs the jobs that are in the queue. */
async function work(worker: Worker): Promise<Outcome> {
  let jobs = 0;
  let endedAt = performance.now();
  const onCompleted = () => {
    jobs++;
    endedAt = performance.now();
  };
  worker.on('completed', onCompleted);
  // It says so again, also if another process has all jobs before it.
  (worker as unknown as { drained: boolean }).drained = false;
  const drained = new Promise<void>(resolve => worker.once('drained', resolve));
  const startedAt = performance.now();
  const cpuBefore = process.cpuUsage();
  await worker.resume();
  await drained;
  // Waits for the jobs that are still active.
  await worker.pause();
  const { user, system } = process.cpuUsage(cpuBefore);
  worker.off('completed', onCompleted);
  return { took: endedAt - startedAt, jobs, cpu: user + system };
}
