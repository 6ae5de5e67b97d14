/** Datastores that can be broken, as workers and producers find them. */

import { createPostgresBackend, Queue, withBackend } from 'bullmq';
import type { Cluster } from 'ioredis';
import pg from 'pg';
import { PostgresServer } from '../support/postgres-server.ts';
import { RedisCluster } from '../support/redis-cluster.ts';
import { RedisSentinel } from '../support/redis-sentinel.ts';
import { RedisServer } from '../support/redis-server.ts';
import { TcpProxy } from './tcp-proxy.ts';
import type { Address } from './worker.ts';

export interface Store {
  /** Where workers find it. */
  readonly address: Address;
  readonly prefix: string | undefined;
  /** Opens a queue to add jobs to. It refuses what it can't do at once. */
  queue(name: string): Queue;
  /** The names of the locks of a queue. */
  locks(queueName: string): Promise<string[]>;
  /** Ends every fault. */
  repair(): Promise<void>;
  close(): Promise<void>;
}

const IMPATIENT = { enableOfflineQueue: false, maxRetriesPerRequest: 1, retryStrategy: () => 50 };

/** One Redis behind a proxy. */
export class RedisStore implements Store {
  readonly prefix = 'bull';
  readonly server: RedisServer;
  readonly proxy: TcpProxy;

  private constructor(server: RedisServer, proxy: TcpProxy) {
    this.server = server;
    this.proxy = proxy;
  }

  static async open(...args: string[]): Promise<RedisStore> {
    const server = await RedisServer.start(...args);
    return new RedisStore(server, await TcpProxy.start(server.port));
  }

  /** A Redis that loses nothing that it has confirmed when it is killed. */
  static openDurable(): Promise<RedisStore> {
    return RedisStore.open('--appendonly', 'yes', '--appendfsync', 'always');
  }

  get address(): Address {
    return { redis: { host: '127.0.0.1', port: this.proxy.port } };
  }

  queue(name: string): Queue {
    return new Queue(name, { connection: { port: this.server.port, ...IMPATIENT } });
  }

  async locks(queueName: string): Promise<string[]> {
    return (await this.server.call('KEYS', `bull:${queueName}::once:*`)) as string[];
  }

  async repair(): Promise<void> {
    this.proxy.repair();
    this.server.thaw();
    await this.server.call('CLIENT', 'UNPAUSE');
    await this.server.call('CONFIG', 'SET', 'maxmemory', 0);
    await this.server.call('REPLICAOF', 'NO', 'ONE');
  }

  async close(): Promise<void> {
    await this.proxy.stop();
    await this.server.stop();
  }
}

export class SentinelStore implements Store {
  readonly prefix = 'bull';
  readonly sentinel: RedisSentinel;

  private constructor(sentinel: RedisSentinel) {
    this.sentinel = sentinel;
  }

  static async open(): Promise<SentinelStore> {
    return new SentinelStore(await RedisSentinel.start());
  }

  get address(): Address {
    const { sentinels, name } = this.sentinel.options as { sentinels: object[]; name: string };
    return { redis: { sentinels, name } };
  }

  queue(name: string): Queue {
    return new Queue(name, { connection: { ...this.sentinel.options, ...IMPATIENT } as object });
  }

  async locks(queueName: string): Promise<string[]> {
    const client = this.sentinel.connect();
    try {
      return await client.keys(`bull:${queueName}::once:*`);
    } finally {
      client.disconnect();
    }
  }

  async repair(): Promise<void> {}

  close(): Promise<void> {
    return this.sentinel.stop();
  }
}

export class ClusterStore implements Store {
  readonly prefix = '{bull}';
  readonly cluster: RedisCluster;
  readonly #clients: Cluster[] = [];

  private constructor(cluster: RedisCluster) {
    this.cluster = cluster;
  }

  static async open(): Promise<ClusterStore> {
    return new ClusterStore(await RedisCluster.start({ replicas: true }));
  }

  get address(): Address {
    return { nodes: this.cluster.nodes };
  }

  queue(name: string): Queue {
    const connection = this.cluster.connect();
    this.#clients.push(connection);
    return new Queue(name, { connection, prefix: this.prefix });
  }

  async locks(queueName: string): Promise<string[]> {
    const client = this.cluster.connect();
    try {
      await client.ping();
      const names = client.nodes('master').map(node => node.keys(`{bull}:${queueName}::once:*`));
      return (await Promise.all(names)).flat();
    } finally {
      client.disconnect();
    }
  }

  async repair(): Promise<void> {}

  async close(): Promise<void> {
    for (const client of this.#clients) client.disconnect();
    await this.cluster.stop();
  }
}

export class PostgresStore implements Store {
  readonly prefix = undefined;
  readonly server: PostgresServer;
  readonly proxy: TcpProxy;

  private constructor(server: PostgresServer, proxy: TcpProxy) {
    this.server = server;
    this.proxy = proxy;
  }

  static async open(): Promise<PostgresStore> {
    const server = await PostgresServer.start();
    return new PostgresStore(server, await TcpProxy.start(server.port));
  }

  get address(): Address {
    return { postgres: this.server.urlAt(this.proxy.port) };
  }

  queue(name: string): Queue {
    const { Queue: OnPostgres } = withBackend(createPostgresBackend);
    return new OnPostgres(name, {
      connection: { connectionString: this.server.url, migrate: true },
    }) as never;
  }

  async locks(queueName: string): Promise<string[]> {
    const sql = 'SELECT key FROM bullmq.once_lock WHERE starts_with(key, $1) AND expires > now()';
    return (await this.query(sql, [`${queueName}::once:`])).map(({ key }) => key as string);
  }

  /** Runs a query on a connection of its own. */
  async query(sql: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
    const client = new pg.Client({ connectionString: this.server.url });
    client.on('error', () => {});
    await client.connect();
    try {
      return (await client.query(sql, values)).rows;
    } finally {
      await client.end();
    }
  }

  async repair(): Promise<void> {
    this.proxy.repair();
  }

  async close(): Promise<void> {
    await this.proxy.stop();
    await this.server.stop();
  }
}

/** How each store is opened. */
export const STORES = {
  Redis: (): Promise<RedisStore> => RedisStore.open(),
  'Redis with a log': (): Promise<RedisStore> => RedisStore.openDurable(),
  'Redis Sentinel': (): Promise<SentinelStore> => SentinelStore.open(),
  'Redis Cluster': (): Promise<ClusterStore> => ClusterStore.open(),
  PostgreSQL: (): Promise<PostgresStore> => PostgresStore.open(),
} as const;

export type StoreName = keyof typeof STORES;
