/** The ways to run the jobs of one key one after another: each fills a queue, and runs a worker over it. */

import { Queue, Worker } from 'bullmq';
import { onceProcessor } from 'bullmq-once';
import * as groupmq from 'groupmq';
import { Redis } from 'ioredis';

export interface KeyedData {
  readonly key: string;
  /** Its position among the jobs of its key. */
  readonly n: number;
}

/** Runs one job. `starts` counts how often it was handed out so far. */
export type RunJob = (data: KeyedData, starts: number) => Promise<void>;

/** A worker that waits for its start. */
export interface ReadyWorker {
  run(): void;
  close(): Promise<unknown>;
}

export interface InTurn {
  readonly name: string;
  /** It works on a queue for one job at a time, whatever the slots of its processes. */
  readonly hasOneSlot?: true;
  fill(redisUrl: string, queue: string, jobs: readonly KeyedData[]): Promise<void>;
  /** @param onDone - called when a job has ended for good. */
  work(task: WorkTask, runJob: RunJob, onDone: () => void): Promise<ReadyWorker>;
}

export interface WorkTask {
  readonly redisUrl: string;
  readonly queue: string;
  readonly concurrency: number;
}

export const IN_ORDER = "bullmq-once, 'in-order'";
export const POLLING = 'bullmq-once, { delay: 100 }';
export const GROUPMQ = 'GroupMQ';
export const ONE_SLOT = 'BullMQ alone, one worker with one slot';
/** What a queue of BullMQ can do at best: it keeps no order of keys. */
export const NO_ORDER = 'BullMQ alone, in no order of keys';

const AT_ONCE = 1000;

async function fillBullMq(url: string, name: string, jobs: readonly KeyedData[]): Promise<void> {
  const queue = new Queue(name, { connection: { url } });
  for (let from = 0; from < jobs.length; from += AT_ONCE) {
    const some = jobs.slice(from, from + AT_ONCE);
    await queue.addBulk(some.map(data => ({ name: 'job', data, opts: { removeOnComplete: true } })));
  }
  await queue.close();
}

type Wrap = (processor: (job: any) => Promise<void>) => (job: any) => Promise<unknown>;

function onBullMq(name: string, wrap: Wrap, more: Pick<InTurn, 'hasOneSlot'> = {}): InTurn {
  return {
    name,
    ...more,
    fill: fillBullMq,
    async work({ redisUrl, queue, concurrency }, runJob, onDone) {
      const processor = wrap(job => runJob(job.data, job.attemptsStarted));
      const worker = new Worker(queue, processor, {
        connection: { url: redisUrl },
        concurrency: more.hasOneSlot ? 1 : concurrency,
        autorun: false,
      });
      worker.on('error', console.error);
      worker.on('failed', (_, error) => console.error(error));
      worker.on('completed', onDone);
      await worker.waitUntilReady();
      return { run: () => void worker.run().catch(console.error), close: () => worker.close() };
    },
  };
}

const groupMq: InTurn = {
  name: GROUPMQ,
  async fill(url, namespace, jobs) {
    const redis = new Redis(url);
    const queue = new groupmq.Queue({ redis: redis as never, namespace });
    for (let from = 0; from < jobs.length; from += AT_ONCE) {
      const some = jobs.slice(from, from + AT_ONCE);
      await Promise.all(some.map(data => queue.add({ groupId: data.key, data, orderMs: from })));
    }
    await queue.close();
    redis.disconnect();
  },
  async work({ redisUrl, queue: namespace, concurrency }, runJob, onDone) {
    const redis = new Redis(redisUrl, { maxRetriesPerRequest: null });
    const queue = new groupmq.Queue<KeyedData>({ redis: redis as never, namespace });
    let worker: groupmq.Worker<KeyedData> | undefined;
    await redis.ping();
    return {
      run() {
        // It starts at once.
        worker = new groupmq.Worker<KeyedData>({
          queue,
          concurrency,
          handler: job => runJob(job.data, job.attempts + 1),
        });
        worker.on('error', console.error);
        worker.on('completed', onDone);
      },
      async close() {
        await worker?.close();
        await queue.close();
        redis.disconnect();
      },
    };
  },
};

/** All, and first what the others are compared with. */
export const waysInTurn: readonly InTurn[] = [
  groupMq,
  onBullMq(IN_ORDER, run => onceProcessor(run, { key: '{key}', whenLocked: 'in-order' })),
  onBullMq(POLLING, run => onceProcessor(run, { key: '{key}', whenLocked: { delay: 100 } })),
  onBullMq(ONE_SLOT, run => run, { hasOneSlot: true }),
  onBullMq(NO_ORDER, run => run),
];

export function wayNamed(name: string): InTurn {
  const way = waysInTurn.find(one => one.name === name);
  if (!way) throw new Error(`there is no way named '${name}' to run jobs in turn`);
  return way;
}
