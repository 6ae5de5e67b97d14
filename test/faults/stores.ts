/** Datastores that can be broken, as workers and producers find them. */

import { createPostgresBackend, Queue, withBackend } from 'bullmq';
import type { Cluster } from 'ioredis';
import pg from 'pg';
import { isLockName } from '../../src/key/stored-name.ts';
import { PgBouncer } from '../support/pgbouncer.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { RedisCluster } from '../support/redis-cluster.ts';
import { RedisSentinel } from '../support/redis-sentinel.ts';
import { RedisServer } from '../support/redis-server.ts';
import { ServerClock } from './server-clock.ts';
import { TcpProxy } from './tcp-proxy.ts';
import type { Address } from './worker.ts';

export interface Store {
  /** Where workers find it. */
  readonly address: Address;
  readonly prefix: string | undefined;
  /** Opens a queue to add jobs to. It refuses what it can't do at once. */
  queue(name: string): Queue;
  /** The names of the locks of the queues whose names begin like this, and of the scopes. */
  locks(name: string): Promise<string[]>;
  /** Ends every fault. */
  repair(): Promise<void>;
  close(): Promise<void>;
}

/** A pattern for the locks of queues and scopes, and for what is stored beside them. */
const patternOf = (name: string) => `*:1:${name}*`;

const IMPATIENT = { enableOfflineQueue: false, maxRetriesPerRequest: 1, retryStrategy: () => 50 };

/** One Redis behind a proxy. */
export class RedisStore implements Store {
  readonly prefix = 'bull';
  readonly server: RedisServer;
  readonly proxy: TcpProxy;

  protected constructor(server: RedisServer, proxy: TcpProxy) {
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

  async locks(name: string): Promise<string[]> {
    return ((await this.server.call('KEYS', patternOf(name))) as string[]).filter(isLockName);
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

/** A Redis whose wall clock can be set. */
export class ClockedRedisStore extends RedisStore {
  readonly clock: ServerClock;

  private constructor(server: RedisServer, proxy: TcpProxy, clock: ServerClock) {
    super(server, proxy);
    this.clock = clock;
  }

  static async openClocked(): Promise<ClockedRedisStore> {
    const clock = new ServerClock();
    const server = await RedisServer.startWith(clock.env);
    return new ClockedRedisStore(server, await TcpProxy.start(server.port), clock);
  }

  override async close(): Promise<void> {
    await super.close();
    this.clock.close();
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

  async locks(name: string): Promise<string[]> {
    const client = this.sentinel.connect();
    try {
      return (await client.keys(patternOf(name))).filter(isLockName);
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

  async locks(name: string): Promise<string[]> {
    const client = this.cluster.connect();
    try {
      await client.ping();
      const names = client.nodes('master').map(node => node.keys(patternOf(name)));
      return (await Promise.all(names)).flat().filter(isLockName);
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

  protected constructor(server: PostgresServer, proxy: TcpProxy) {
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

  async locks(name: string): Promise<string[]> {
    const sql = 'SELECT key FROM bullmq.once_lock WHERE strpos(key, $1) > 0 AND expires > now()';
    return (await this.query(sql, [`:1:${name}`])).map(({ key }) => key as string);
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

/**
 * A PostgreSQL whose locks are reached by a PgBouncer, which gives a connection to another client after each transaction. BullMQ itself
 * needs connections of its own.
 */
export class PooledPostgresStore extends PostgresStore {
  readonly bouncer: PgBouncer;

  private constructor(server: PostgresServer, proxy: TcpProxy, bouncer: PgBouncer) {
    super(server, proxy);
    this.bouncer = bouncer;
  }

  static async openPooled(): Promise<PooledPostgresStore> {
    const server = await PostgresServer.start();
    const bouncer = await PgBouncer.start(server.port, 'transaction');
    return new PooledPostgresStore(server, await TcpProxy.start(server.port), bouncer);
  }

  override get address(): Address {
    return { postgres: this.server.urlAt(this.proxy.port), locks: this.bouncer.url };
  }

  override async close(): Promise<void> {
    await this.bouncer.stop();
    await super.close();
  }
}

/** How each store is opened. */
export const STORES = {
  Redis: (): Promise<RedisStore> => RedisStore.open(),
  'Redis with a log': (): Promise<RedisStore> => RedisStore.openDurable(),
  'Redis with a clock': (): Promise<ClockedRedisStore> => ClockedRedisStore.openClocked(),
  'Redis Sentinel': (): Promise<SentinelStore> => SentinelStore.open(),
  'Redis Cluster': (): Promise<ClusterStore> => ClusterStore.open(),
  PostgreSQL: (): Promise<PostgresStore> => PostgresStore.open(),
  PgBouncer: (): Promise<PooledPostgresStore> => PooledPostgresStore.openPooled(),
} as const;

export type StoreName = keyof typeof STORES;
