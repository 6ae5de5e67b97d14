/** A process that runs a BullMQ worker under one guard, once for each message. */

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

process.on('message', async (task: Task) => {
  process.send?.(await work(task));
});

async function work({ guard: name, store, servers, queue, concurrency }: Task): Promise<Outcome> {
  const guard = guards.find(one => one.name === name);
  if (!guard) throw new Error(`there is no guard named '${name}'`);
  const guarded = await guard.wrap(async () => {}, servers, store);
  const options = { concurrency, autorun: false };
  const { worker, close } = workerOn(store, servers, queue, guarded.processor, options);
  worker.on('error', console.error);
  await worker.waitUntilReady();

  let jobs = 0;
  let endedAt = performance.now();
  worker.on('completed', () => {
    jobs++;
    endedAt = performance.now();
  });
  const drained = new Promise<void>((resolve, reject) => {
    worker.once('drained', resolve);
    worker.on('failed', (_, error) => reject(error));
  });
  globalThis.gc?.();
  const startedAt = performance.now();
  const cpuBefore = process.cpuUsage();
  worker.run().catch(console.error);
  await drained;
  // Waits for the jobs that are still active.
  await worker.close();
  const { user, system } = process.cpuUsage(cpuBefore);

  await close();
  await guarded.close();
  return { took: endedAt - startedAt, jobs, cpu: user + system };
}
