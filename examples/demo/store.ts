/** Where the demo has its queue: on a Redis where there is one, else on a PostgreSQL in its own process. */

import { createPostgresBackend, Queue, Worker, withBackend } from 'bullmq';
import { lookForRedis } from '../../test/support/redis-server.ts';
import { startEmbedded } from '../embedded/postgres.ts';

/** What a process needs to connect. */
export interface StoreAddress {
  readonly on: 'redis' | 'postgres';
  readonly url: string;
}

export interface DemoStore extends StoreAddress {
  /** Says what it is and where it came from. */
  readonly source: string;
  stop(): Promise<void>;
}

/**
 * `REDIS_URL`, else a Redis on this machine, started for the run, else the embedded PostgreSQL.
 * @param embedded - the embedded one in any case.
 */
export async function findStore(embedded: boolean): Promise<DemoStore> {
  const redis = embedded ? undefined : await lookForRedis();
  if (redis) return { on: 'redis', ...redis };
  const reason = embedded ? 'as asked for' : 'since there is no REDIS_URL and no redis-server on the PATH';
  const source = `a PostgreSQL in this process, ${reason}`;
  return { on: 'postgres', source, ...(await startEmbedded()) };
}

/** BullMQ's classes for a store, and what they connect to. */
export function bullmqOn({ on, url }: StoreAddress): {
  Queue: typeof Queue;
  Worker: typeof Worker;
  connection: { url: string };
} {
  if (on === 'redis') return { Queue, Worker, connection: { url } };
  const onPostgres = withBackend(createPostgresBackend) as never as {
    Queue: typeof Queue;
    Worker: typeof Worker;
  };
  return { ...onPostgres, connection: { connectionString: url, max: 4 } as never };
}
