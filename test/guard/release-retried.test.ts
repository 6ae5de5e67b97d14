/** Guarantee 6 where connections are cut in the moment of the release: no key is held by a job that is known to have finished. */

import {
  createPostgresBackend,
  type Job,
  Queue,
  QueueEvents,
  Worker,
  type WorkerOptions,
  withBackend,
} from 'bullmq';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import pg from 'pg';
import { createClient } from 'redis';
import { onceProcessor } from '../../src/index.ts';
import { TcpProxy } from '../faults/tcp-proxy.ts';
import { uniqueName, until } from '../support/index.ts';
import { RedisServer } from '../support/redis-server.ts';
import { sharedPostgres } from '../support/shared-servers.ts';

const JOBS = 40;
/** A key that is not released stays held for far longer than a test waits. */
const TTL = 60_000;
/** A job whose end got lost with its connection stalls, and is run again. */
const SOON: Partial<WorkerOptions> = { lockDuration: 1500, stalledInterval: 200, maxStalledCount: 1000 };

/** A queue whose producers have connections of their own, which nobody cuts. */
interface Producers {
  readonly queue: Queue;
  readonly events: QueueEvents;
  /** The jobs' own lock keys that are held. */
  held(): Promise<string[]>;
}

/** Runs jobs, each with a key of its own, and cuts connections when each ends. @returns what was held when jobs were known to have finished. */
async function heldAfterEnds(
  { queue, events, held }: Producers,
  startWorker: (processor: any) => Worker,
  cut: () => unknown,
): Promise<{ heldWhenFinished: string[]; left: string[] }> {
  const heldWhenFinished: string[] = [];
  const looks: Promise<unknown>[] = [];
  const onFinished = ({ jobId, failedReason = '' }: { jobId: string; failedReason?: string }) => {
    // It never ran: nobody knows whether it acquired its key, and what it may have acquired is released when the cache can be reached.
    if (failedReason.includes('could not be decided')) return;
    const look = held().then(keys => {
      if (keys.some(key => key.endsWith(`:k-${jobId}`))) heldWhenFinished.push(jobId);
    });
    looks.push(look);
  };
  events.on('completed', onFinished);
  // BullMQ fails a job whose completion it could not record.
  events.on('failed', onFinished);
  await events.waitUntilReady();
  let ends = 0;
  const worker = startWorker(
    onceProcessor(
      async (job: Job) => {
        // A job whose end got lost comes again, and is left in peace.
        if (job.attemptsStarted !== 1) return;
        // Before the release is sent, while it is under way, or when it may have been executed.
        const moment = ends++ % 4;
        if (moment === 0) cut();
        else if (moment === 1) setImmediate(cut);
        else setTimeout(cut, moment - 1);
      },
      { key: (job: Job) => `k-${job.id}`, ttl: TTL },
    ),
  );
  worker.on('error', () => {});
  const numbers = Array.from({ length: JOBS }, (_, i) => i);
  await queue.addBulk(numbers.map(i => ({ name: 'job', data: {}, opts: { jobId: `j${i}` } })));

  // Not by the events: BullMQ on PostgreSQL loses some.
  await until(
    async () => {
      const { completed, failed } = await queue.getJobCounts('completed', 'failed');
      return (completed ?? 0) + (failed ?? 0) === JOBS;
    },
    'all jobs have finished',
    50_000,
  );
  await Promise.all(looks);
  const left = await held();
  await worker.close(true);
  return { heldWhenFinished, left };
}

const CLIENTS: Readonly<
  Record<string, (port: number) => Promise<{ connection: unknown; close(): unknown }>>
> = {
  ioredis: async port => {
    const connection = new Redis({ host: '127.0.0.1', port, maxRetriesPerRequest: null });
    connection.on('error', () => {});
    return { connection, close: () => connection.disconnect() };
  },
  'ioredis with enableAutoPipelining': async port => {
    const options = { host: '127.0.0.1', port, maxRetriesPerRequest: null, enableAutoPipelining: true };
    const connection = new Redis(options);
    connection.on('error', () => {});
    return { connection, close: () => connection.disconnect() };
  },
  'node-redis': async port => {
    const connection = createClient({ socket: { host: '127.0.0.1', port } });
    connection.on('error', () => {});
    return { connection, close: () => connection.isOpen && connection.destroy() };
  },
};

describe('The keys of jobs at whose ends the connection is cut', () => {
  for (const [name, open] of Object.entries(CLIENTS)) {
    it(`are free when the jobs are known to have finished (${name})`, async () => {
      const server = await RedisServer.start();
      const proxy = await TcpProxy.start(server.port);
      const { connection, close } = await open(proxy.port);
      const direct = { host: '127.0.0.1', port: server.port };
      const queue = new Queue(uniqueName('queue'), { connection: direct });
      const events = new QueueEvents(queue.name, { connection: direct });
      const plain = new Redis(direct);

      const outcome = await heldAfterEnds(
        { queue, events, held: () => plain.keys(`bull:${queue.name}::once:*`) },
        processor =>
          new Worker(queue.name, processor, { connection: connection as never, concurrency: 5, ...SOON }),
        () => proxy.cut(),
      );

      expect(outcome).to.deep.equal({ heldWhenFinished: [], left: [] });
      await close();
      await events.close();
      await queue.close();
      plain.disconnect();
      await proxy.stop();
      await server.stop();
    });
  }

  it('are free when the jobs are known to have finished (PostgreSQL, whose backends are terminated)', async () => {
    const { url } = await sharedPostgres();
    const classes = withBackend(createPostgresBackend) as never as {
      Queue: typeof Queue;
      QueueEvents: typeof QueueEvents;
      Worker: typeof Worker;
    };
    const admin = new pg.Pool({ connectionString: url });
    admin.on('error', () => {});
    const connectionOf = (application_name: string) => ({
      connection: { connectionString: url, migrate: true, application_name } as never,
    });
    const victim = uniqueName('victim');
    const queue = new classes.Queue(uniqueName('queue'), connectionOf('producer'));
    const events = new classes.QueueEvents(queue.name, connectionOf('producer'));
    const terminate = 'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1';
    const ofQueue = 'SELECT key FROM bullmq.once_lock WHERE starts_with(key, $1) AND expires > now()';
    queue.on('error', () => {});
    events.on('error', () => {});
    await queue.waitUntilReady();

    const outcome = await heldAfterEnds(
      {
        queue,
        events,
        held: async () => {
          const { rows } = await admin
            .query(ofQueue, [`::once:1:${queue.name}:`])
            .catch(() => ({ rows: [] }));
          return rows.map(({ key }) => key);
        },
      },
      processor =>
        new classes.Worker(queue.name, processor, { ...connectionOf(victim), concurrency: 5, ...SOON }),
      () => admin.query(terminate, [victim]),
    );

    expect(outcome).to.deep.equal({ heldWhenFinished: [], left: [] });
    await events.close();
    await queue.close();
    await admin.end();
  });
});
