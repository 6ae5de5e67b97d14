/** A real Redis with a fail-over: a master, a replica, and three sentinels that watch them. */

import { Redis, type RedisOptions } from 'ioredis';
import { until } from './index.ts';
import { RedisServer } from './redis-server.ts';

const NAME = 'once';
const SENTINELS = 3;

export class RedisSentinel {
  readonly master: RedisServer;
  readonly replica: RedisServer;
  readonly #sentinels: readonly RedisServer[];

  private constructor(master: RedisServer, replica: RedisServer, sentinels: readonly RedisServer[]) {
    this.master = master;
    this.replica = replica;
    this.#sentinels = sentinels;
  }

  static async start(): Promise<RedisSentinel> {
    const master = await RedisServer.start();
    const replica = await RedisServer.start('--replicaof', `127.0.0.1 ${master.port}`);
    await until(async () => (await replica.info('replication')).includes('master_link_status:up'));
    const config = [
      `sentinel monitor ${NAME} 127.0.0.1 ${master.port} 2`,
      `sentinel down-after-milliseconds ${NAME} 500`,
      `sentinel failover-timeout ${NAME} 3000`,
    ];
    const sentinels = await Promise.all(
      Array.from({ length: SENTINELS }, () => RedisServer.startSentinel(...config)),
    );
    for (const sentinel of sentinels) {
      await until(async () => {
        const info = await sentinel.info('sentinel');
        return info.includes(`slaves=1,sentinels=${SENTINELS}`);
      });
    }
    return new RedisSentinel(master, replica, sentinels);
  }

  /** What a user passes to ioredis, or to BullMQ as a connection. */
  get options(): RedisOptions {
    return {
      sentinels: this.#sentinels.map(({ port }) => ({ host: '127.0.0.1', port })),
      name: NAME,
      maxRetriesPerRequest: null,
      // The default waits longer each time.
      sentinelRetryStrategy: () => 100,
      retryStrategy: () => 100,
    };
  }

  connect(options: RedisOptions = {}): Redis {
    const client = new Redis({ ...this.options, ...options } as { host: string });
    client.on('error', () => {});
    return client;
  }

  /** Kills the master, and waits until the replica has taken its place. */
  async failOver(): Promise<void> {
    await this.master.kill();
    await until(async () => (await this.replica.info('replication')).includes('role:master'));
  }

  async stop(): Promise<void> {
    await Promise.all([this.master, this.replica, ...this.#sentinels].map(server => server.stop()));
  }
}
