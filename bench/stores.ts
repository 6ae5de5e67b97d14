/** Queues and workers on the datastores and clients that are measured. */

import { createPostgresBackend, Queue, Worker, type WorkerOptions, withBackend } from 'bullmq';
import { createClient } from 'redis';
import type { Processor } from './guards.ts';

export const STORES = ['ioredis', 'node-redis', 'postgres'] as const;
export type Store = (typeof STORES)[number];

/** The servers of a run, by their addresses. */
export interface Servers {
  readonly redis: string;
  readonly postgres: string;
}

const onPostgres = withBackend(createPostgresBackend);

const postgres = (servers: Servers) => ({ connectionString: servers.postgres, migrate: true });

export function queueOn(store: Store, servers: Servers, name: string): Queue {
  if (store !== 'postgres') return new Queue(name, { connection: { url: servers.redis } });
  return new onPostgres.Queue(name, { connection: postgres(servers) }) as never as Queue;
}

export function workerOn(
  store: Store,
  servers: Servers,
  name: string,
  processor: Processor,
  options: Pick<WorkerOptions, 'concurrency' | 'autorun'>,
): { worker: Worker; close(): unknown } {
  if (store === 'postgres') {
    const worker = new onPostgres.Worker(name, processor, { connection: postgres(servers), ...options });
    return { worker: worker as never as Worker, close: () => {} };
  }
  if (store === 'ioredis') {
    const worker = new Worker(name, processor, { connection: { url: servers.redis }, ...options });
    return { worker, close: () => {} };
  }
  const connection = createClient({ url: servers.redis });
  const worker = new Worker(name, processor, { connection: connection as never, ...options });
  return { worker, close: () => connection.destroy() };
}
