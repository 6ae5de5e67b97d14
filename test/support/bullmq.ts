/** BullMQ as its users have it: both versions, on each kind of datastore and connection. */

import { GlideClient, Logger } from '@valkey/valkey-glide';
import {
  createPostgresBackend,
  createValkeyGlideClient,
  type Job,
  Queue,
  QueueEvents,
  Worker,
  type WorkerOptions,
  withBackend,
} from 'bullmq';
import * as bullmq5 from 'bullmq5';
import pg from 'pg';
import { createClient } from 'redis';
import {
  type LockCache,
  type LockRecord,
  type OnceProcessorOptions,
  onceProcessor,
  RedisCache,
} from '../../src/index.ts';
import { queueName } from '../../src/key/stored-name.ts';
import { PostgresCache } from '../../src/postgres.ts';
import {
  connectRedis,
  type Deferred,
  deferred,
  GLIDE_OPTIONS,
  redisOptions,
  redisUrl,
  uniqueName,
  until,
} from './index.ts';
import { sharedCluster, sharedPostgres } from './shared-servers.ts';

/** What a user passes as `connection`, and how the user closes it. */
interface Connection {
  readonly connection: unknown;
  close(): unknown;
}

/** A datastore, as BullMQ uses it and as a test looks at the locks in it. */
interface Store {
  readonly classes: { Queue: typeof Queue; QueueEvents: typeof QueueEvents; Worker: typeof Worker };
  /** BullMQ's prefix; none in a schema. */
  readonly prefix: string | undefined;
  readonly cache: LockCache;
  /** The names of the locks that begin with a prefix. */
  keys(start: string): Promise<string[]>;
  /** Opens a connection for BullMQ. */
  connect(): Connection;
  close(): unknown;
}

export interface Setup {
  readonly name: string;
  /** It uses the Redis of the run, whose connections and commands a test can look at. */
  readonly onRedis: boolean;
  open(): Promise<Store>;
  /** Opens a worker's connection. */
  connect(store: Store): Connection | Promise<Connection>;
}

// It warns of each connection that is closed.
Logger.setLoggerConfig('off');

const nothing = () => {};
const classes6 = { Queue, QueueEvents, Worker };
const classes5 = bullmq5 as never as typeof classes6;
const classesOnPostgres = withBackend(createPostgresBackend) as never as typeof classes6;

async function openRedis(classes: typeof classes6): Promise<Store> {
  const plain = connectRedis();
  return {
    classes,
    prefix: 'bull',
    cache: new RedisCache(plain),
    keys: start => plain.keys(`${start}*`),
    connect: () => ({ connection: redisOptions(), close: nothing }),
    close: () => plain.disconnect(),
  };
}

async function openCluster(): Promise<Store> {
  const cluster = await sharedCluster();
  const plain = cluster.connect();
  return {
    classes: classes6,
    prefix: '{bull}',
    cache: new RedisCache(plain as never),
    keys: async start =>
      (await Promise.all(plain.nodes('master').map(node => node.keys(`${start}*`)))).flat(),
    connect() {
      const connection = cluster.connect();
      return { connection, close: () => connection.disconnect() };
    },
    close: () => plain.disconnect(),
  };
}

async function openPostgres(): Promise<Store> {
  const { url } = await sharedPostgres();
  const pool = new pg.Pool({ connectionString: url, max: 1 });
  const cache = new PostgresCache(pool);
  return {
    classes: classesOnPostgres,
    prefix: undefined,
    cache,
    async keys(start) {
      // Asking the cache creates the table.
      await cache.inspect([start]);
      const sql = 'SELECT key FROM bullmq.once_lock WHERE starts_with(key, $1) AND expires > now()';
      return (await pool.query(sql, [start])).rows.map(({ key }) => key);
    },
    connect: () => ({ connection: { connectionString: url, migrate: true }, close: nothing }),
    close: () => pool.end(),
  };
}

function connectInstance(): Connection {
  const connection = connectRedis();
  return { connection, close: () => connection.disconnect() };
}

function connectNodeRedis(): Connection {
  const connection = createClient({ url: redisUrl() });
  connection.on('error', nothing);
  return { connection, close: () => connection.isOpen && connection.destroy() };
}

/** BullMQ 5 does not wrap a node-redis client by itself. */
function connectWrappedNodeRedis(): Connection {
  const { connection, close } = connectNodeRedis();
  return { connection: bullmq5.createNodeRedisClient(connection as never), close };
}

async function connectGlide(): Promise<Connection> {
  const client = await GlideClient.createClient({ addresses: [redisOptions()], ...GLIDE_OPTIONS });
  return { connection: createValkeyGlideClient(client as never), close: () => client.close() };
}

/** A pool of the user's own. BullMQ listens on one of its connections. */
async function connectPool(): Promise<Connection> {
  const pool = new pg.Pool({
    connectionString: (await sharedPostgres()).url,
    options: '-c search_path=bullmq',
  });
  pool.on('error', nothing);
  return { connection: pool, close: () => pool.end() };
}

const itsOwn = (store: Store) => store.connect();
const on6 = { onRedis: true, open: () => openRedis(classes6) } as const;
const on5 = { onRedis: true, open: () => openRedis(classes5) } as const;
const onCluster = { onRedis: false, open: openCluster } as const;
const onPostgres = { onRedis: false, open: openPostgres } as const;

export const setups: readonly Setup[] = [
  { name: 'BullMQ 6 with ioredis options', ...on6, connect: itsOwn },
  { name: 'BullMQ 6 with an ioredis instance', ...on6, connect: connectInstance },
  { name: 'BullMQ 6 with a node-redis client', ...on6, connect: connectNodeRedis },
  { name: 'BullMQ 6 with a Valkey GLIDE client', ...on6, connect: connectGlide },
  { name: 'BullMQ 6 on a Redis Cluster', ...onCluster, connect: itsOwn },
  { name: 'BullMQ 6 on PostgreSQL', ...onPostgres, connect: itsOwn },
  { name: 'BullMQ 6 on PostgreSQL with a pool', ...onPostgres, connect: connectPool },
  { name: 'BullMQ 5 with ioredis options', ...on5, connect: itsOwn },
  { name: 'BullMQ 5 with an ioredis instance', ...on5, connect: connectInstance },
  { name: 'BullMQ 5 with a node-redis client', ...on5, connect: connectWrappedNodeRedis },
];

export function setupNamed(name: string): Setup {
  const setup = setups.find(one => one.name === name);
  if (!setup) throw new Error(`there is no setup '${name}'`);
  return setup;
}

/** One setup of each kind that BullMQ itself treats in another way. */
export const oneOfEachKind: readonly Setup[] = [
  'BullMQ 6 with ioredis options',
  'BullMQ 6 on PostgreSQL',
  'BullMQ 5 with ioredis options',
].map(setupNamed);

type AnyProcessor = (job: Job, token?: string, signal?: AbortSignal) => Promise<unknown>;

/** A job that runs, and holds its key, until it is finished. */
export interface HoldingJob {
  readonly job: Job;
  readonly worker: Worker;
  /** The ids of all jobs that ran, in the order in which they started. */
  readonly ran: readonly unknown[];
  /** Lets the job finish. Resolves to its result. */
  finish(): Promise<unknown>;
}

/** How {@link Bench.hold} starts its worker and its job. */
interface HoldOptions extends Partial<WorkerOptions> {
  readonly data?: unknown;
  readonly jobOptions?: object;
}

/** One queue of a test, its workers, and how each of its jobs ended. */
export class Bench {
  readonly queueName: string;
  readonly queue: Queue;
  readonly #setup: Setup;
  readonly #store: Store;
  readonly #workers: Worker[] = [];
  readonly #closes: (() => unknown)[] = [];
  /** Each resolves when a job that holds its key may end. */
  readonly #gates: Deferred[] = [];
  readonly #events: QueueEvents;

  private constructor(setup: Setup, store: Store, queueName: string) {
    this.#setup = setup;
    this.#store = store;
    this.queueName = queueName;
    this.queue = new store.classes.Queue(queueName, this.#connected(store.connect()));
    this.#events = new store.classes.QueueEvents(queueName, this.#connected(store.connect()));
    this.queue.on('error', nothing);
    // Each job that is waited for listens to both.
    this.queue.setMaxListeners(0);
    this.#events.setMaxListeners(0);
    this.#events.on('error', nothing);
  }

  static async open(
    setup: Setup = setups[0] as Setup,
    queueName: string = uniqueName('queue'),
  ): Promise<Bench> {
    const bench = new Bench(setup, await setup.open(), queueName);
    // A database gets its schema here.
    await bench.queue.waitUntilReady();
    return bench;
  }

  /** The name of a key of this queue in its datastore. */
  storedName(key: string): string {
    const { prefix } = this.#store;
    return queueName(prefix === undefined ? this.queueName : `${prefix}:${this.queueName}`, key);
  }

  /** The cache of this queue's locks. */
  get cache(): LockCache {
    return this.#store.cache;
  }

  /** Who holds a key of this queue. */
  async holder(key: string): Promise<LockRecord | undefined> {
    return (await this.#store.cache.inspect([this.storedName(key)]))[0];
  }

  /** The names of all locks of this queue in its datastore. */
  storedNames(): Promise<string[]> {
    return this.#store.keys(this.storedName(''));
  }

  async worker(processor: AnyProcessor, options: Partial<WorkerOptions> = {}): Promise<Worker> {
    const connection = this.#connected(await this.#setup.connect(this.#store));
    const worker = new this.#store.classes.Worker(this.queueName, processor, { ...connection, ...options });
    worker.on('error', nothing);
    this.#workers.push(worker);
    await worker.waitUntilReady();
    await this.#events.waitUntilReady();
    return worker;
  }

  async add(data: unknown, options: object = {}): Promise<Job> {
    await this.#events.waitUntilReady();
    return this.queue.add('job', data, options);
  }

  /**
   * Adds a job that is to be handed out before those that are added later. On PostgreSQL BullMQ's workers fetch jobs side by side, and two
   * of the same few ms may swap (docs/order.md): there it waits until a worker has the job.
   */
  async addInTurn(data: unknown, options: object = {}): Promise<Job> {
    const job = await this.add(data, options);
    const isOnPostgres = this.#store.prefix === undefined;
    if (isOnPostgres) await this.reaches(job, 'active', 'delayed', 'completed');
    return job;
  }

  /**
   * Starts a guarded worker with five slots, and a first job that runs until it is finished. Its key is `k` unless `options`
   * name another. The jobs that run after it complete at once. All of them have the result `'worked'`.
   */
  async hold(
    options: OnceProcessorOptions = {},
    { data = {}, jobOptions, ...workerOptions }: HoldOptions = {},
  ): Promise<HoldingJob> {
    const gate = deferred();
    this.#gates.push(gate);
    const ran: unknown[] = [];
    const processor = onceProcessor(
      async (job: Job) => {
        ran.push(job.id);
        if (ran.length === 1) await gate.promise;
        return 'worked';
      },
      { key: 'k', ...options },
    );
    const worker = await this.worker(processor, { concurrency: 5, ...workerOptions });
    const job = await this.add(data, jobOptions);
    await until(() => ran.length === 1);
    const finish = () => {
      gate.resolve();
      return this.result(job);
    };
    return { job, worker, ran, finish };
  }

  /**
   * The result of a job that is expected to complete. It is asked for again every second: on PostgreSQL BullMQ loses an event
   * when the transactions that write two of them commit in another order than that of their numbers.
   */
  async result(job: Job): Promise<unknown> {
    for (let seconds = 1; ; seconds++) {
      try {
        return await job.waitUntilFinished(this.#events as never, 1000);
      } catch (error) {
        const isPending = (error as Error).message.includes('timed out before finishing');
        if (!isPending || seconds === 60) throw error;
      }
    }
  }

  /** Waits until a job has completed or failed. */
  ended(job: Job): Promise<void> {
    return this.reaches(job, 'completed', 'failed');
  }

  /** Waits until a job is in one of these states. */
  reaches(job: Job, ...states: string[]): Promise<void> {
    return until(
      async () => states.includes(await job.getState()),
      `job ${job.id} is ${states.join(' or ')}`,
    );
  }

  /** The reason for which a job failed, once it has no attempts left. */
  async failure(job: Job): Promise<string> {
    const error = await this.result(job).then(
      value => new Error(`the job completed with ${JSON.stringify(value)}`),
      reason => reason as Error,
    );
    return error.message;
  }

  /** Closes all that the test has opened. Jobs that still hold their keys end first. */
  async close(): Promise<void> {
    for (const gate of this.#gates) gate.resolve();
    await Promise.all(this.#workers.map(worker => worker.close()));
    await this.#events.close();
    await this.queue.obliterate({ force: true }).catch(() => {});
    await this.queue.close();
    for (const close of this.#closes) await close();
    await this.#store.close();
  }

  #connected({ connection, close }: Connection): { connection: any; prefix?: string } {
    this.#closes.push(close);
    const { prefix } = this.#store;
    return prefix === undefined ? { connection } : { connection, prefix };
  }
}

/** A job without a queue, as a sandboxed processor gets it. */
export function plainJob(id: string, fields: object = {}): Job {
  const job = { id, name: 'job', data: {}, timestamp: 1, queueName: 'emails', opts: {} };
  return { ...job, queueQualifiedName: 'bull:emails', ...fields } as unknown as Job;
}
