/** Clients of Redis in all settings that decide what becomes of a command whose connection is cut. */

import { GlideClient, Logger } from '@valkey/valkey-glide';
import { Redis, type RedisOptions } from 'ioredis';
import { Redis as Redis5 } from 'ioredis5';
import { createClient } from 'redis';
import { type LockCache, RedisCache } from '../../src/index.ts';
import { until } from '../support/index.ts';

// It warns of each connection that is closed.
Logger.setLoggerConfig('off');

export interface OpenClient {
  readonly cache: LockCache;
  close(): unknown;
}

export const openIoredis =
  (options: RedisOptions = {}, Client: typeof Redis = Redis) =>
  async (port: number): Promise<OpenClient> => {
    const all: RedisOptions = { host: '127.0.0.1', port, ...options };
    const client = new Client(all as { host: string });
    client.on('error', () => {});
    await until(() => client.status === 'ready');
    return { cache: new RedisCache(client), close: () => client.disconnect() };
  };

const openNodeRedis =
  (options: object = {}) =>
  async (port: number): Promise<OpenClient> => {
    const client = createClient({ socket: { host: '127.0.0.1', port }, ...options } as never);
    client.on('error', () => {});
    await client.connect();
    return { cache: new RedisCache(client as never), close: () => client.isOpen && client.destroy() };
  };

const openGlide = async (port: number): Promise<OpenClient> => {
  const client = await GlideClient.createClient({ addresses: [{ host: '127.0.0.1', port }] });
  return { cache: new RedisCache(client), close: () => client.close() };
};

export const CLIENTS: Readonly<Record<string, (port: number) => Promise<OpenClient>>> = {
  'ioredis 6': openIoredis(),
  'ioredis 5': openIoredis({}, Redis5 as never),
  // It never answers what was under way when its connection dropped.
  'ioredis with autoResendUnfulfilledCommands: false': openIoredis({ autoResendUnfulfilledCommands: false }),
  'ioredis with maxRetriesPerRequest: 0': openIoredis({ maxRetriesPerRequest: 0 }),
  'ioredis with enableOfflineQueue: false': openIoredis({
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
  }),
  'ioredis with enableAutoPipelining': openIoredis({ enableAutoPipelining: true }),
  'ioredis with commandTimeout: 150': openIoredis({ commandTimeout: 150 }),
  'node-redis': openNodeRedis(),
  'node-redis with disableOfflineQueue': openNodeRedis({ disableOfflineQueue: true }),
  'Valkey GLIDE': openGlide,
};
