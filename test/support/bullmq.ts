/** BullMQ as its users have it: both versions, on each kind of connection. */

import { type Job, Queue, QueueEvents, Worker, type WorkerOptions } from 'bullmq';
import * as bullmq5 from 'bullmq5';
import { createClient } from 'redis';
import { connectRedis, redisOptions, redisUrl, uniqueName } from './index.ts';

export interface Setup {
  readonly name: string;
  readonly version: 5 | 6;
  /** What a user passes as `connection`, and how it is closed where it is the user's to close. */
  connect(): { connection: unknown; close(): unknown };
}

const options = { name: 'ioredis options', connect: () => ({ connection: redisOptions(), close: () => {} }) };
const instance = {
  name: 'an ioredis instance',
  connect: () => {
    const connection = connectRedis();
    return { connection, close: () => connection.disconnect() };
  },
};
const nodeRedis = {
  name: 'a node-redis client',
  connect: () => {
    const connection = createClient({ url: redisUrl() });
    connection.on('error', () => {});
    return {
      connection,
      close: () => {
        if (connection.isOpen) connection.destroy();
      },
    };
  },
};

/** BullMQ 5 does not wrap a node-redis client by itself. */
const wrappedNodeRedis = {
  ...nodeRedis,
  connect: () => {
    const { connection, close } = nodeRedis.connect();
    return { connection: bullmq5.createNodeRedisClient(connection as never), close };
  },
};

export const setups: readonly Setup[] = ([6, 5] as const).flatMap(version =>
  [options, instance, version === 6 ? nodeRedis : wrappedNodeRedis].map(({ name, connect }) => ({
    name: `BullMQ ${version} with ${name}`,
    version,
    connect,
  })),
);

type AnyProcessor = (job: Job, token?: string, signal?: AbortSignal) => Promise<unknown>;

/** One queue of a test, its workers, and how each of its jobs ended. */
export class Bench {
  readonly queueName: string;
  readonly prefix: string;
  readonly queue: Queue;
  readonly #setup: Setup;
  readonly #workers: Worker[] = [];
  readonly #closes: (() => unknown)[] = [];
  readonly #events: QueueEvents;

  constructor(setup: Setup = setups[0] as Setup, queueName: string = uniqueName('queue')) {
    this.#setup = setup;
    this.queueName = queueName;
    this.prefix = 'bull';
    const classes =
      setup.version === 6
        ? { Queue, QueueEvents }
        : (bullmq5 as never as { Queue: typeof Queue; QueueEvents: typeof QueueEvents });
    this.queue = new classes.Queue(queueName, { connection: redisOptions() });
    this.#events = new classes.QueueEvents(queueName, { connection: redisOptions() });
    this.queue.on('error', () => {});
    // Each job that is waited for listens to both.
    this.queue.setMaxListeners(0);
    this.#events.setMaxListeners(0);
    this.#events.on('error', () => {});
  }

  /** The name of a key of this queue in Redis. */
  redisKey(key: string): string {
    return `${this.prefix}:${this.queueName}::once:1:${key}`;
  }

  async worker(processor: AnyProcessor, options: Partial<WorkerOptions> = {}): Promise<Worker> {
    const { connection, close } = this.#setup.connect();
    const WorkerClass = this.#setup.version === 6 ? Worker : (bullmq5.Worker as never as typeof Worker);
    const worker = new WorkerClass(this.queueName, processor, {
      connection: connection as never,
      ...options,
    });
    worker.on('error', () => {});
    this.#workers.push(worker);
    this.#closes.push(close);
    await worker.waitUntilReady();
    await this.#events.waitUntilReady();
    return worker;
  }

  async add(data: unknown, options: object = {}): Promise<Job> {
    await this.#events.waitUntilReady();
    return this.queue.add('job', data, options);
  }

  /** The result of a job that is expected to complete. */
  result(job: Job): Promise<unknown> {
    return job.waitUntilFinished(this.#events as never, 60_000);
  }

  /** The reason for which a job failed, once it has no attempts left. */
  async failure(job: Job): Promise<string> {
    const error = await this.result(job).then(
      value => new Error(`the job completed with ${JSON.stringify(value)}`),
      reason => reason as Error,
    );
    return error.message;
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map(worker => worker.close()));
    for (const close of this.#closes) await close();
    await this.#events.close();
    await this.queue.obliterate({ force: true }).catch(() => {});
    await this.queue.close();
  }
}
