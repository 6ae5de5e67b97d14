/** Subscribes to the channels on which the scripts of `scripts.ts` notify releases, on any of the supported clients. */

import { Subscriber, type Subscription } from '../notify/subscriber.ts';
import { isCluster, type RedisClient } from './client.ts';

/** The name of the connection in Redis' list of clients. */
const CONNECTION_NAME = 'bullmq-once:waiting';

export function redisSubscriber(client: RedisClient): Subscriber {
  // BullMQ's wrapper of node-redis can't subscribe; the client inside it can.
  const { raw } = client as { raw?: RedisClient };
  const source = raw && isNodeRedis(raw) ? raw : client;
  return new Subscriber(async (onRelease, onEnd) => {
    if (isIoredis(source)) return openIoredis(source, onRelease, onEnd);
    if (isNodeRedis(source)) return openNodeRedis(source, onRelease);
    return undefined;
  });
}

/** What is needed of ioredis, and of BullMQ's wrapper of it. */
interface Ioredis {
  readonly status: string;
  duplicate(options?: object): Ioredis;
  subscribe(channel: string): Promise<unknown>;
  unsubscribe(channel: string): Promise<unknown>;
  on(event: string, listener: (...args: any[]) => void): unknown;
  disconnect(): void;
}

function openIoredis(
  client: Ioredis,
  onRelease: (storedKey: string) => void,
  onEnd: () => void,
): Subscription {
  // The plain client of a cluster takes other arguments.
  const takesOptions = !isCluster(client) || 'runCommand' in client;
  const own = client.duplicate(takesOptions ? { connectionName: CONNECTION_NAME } : undefined);
  own.on('error', () => {});
  own.on('end', onEnd);
  own.on('message', onRelease);
  return {
    get isUp() {
      return own.status === 'ready';
    },
    subscribe: storedKey => own.subscribe(storedKey),
    unsubscribe: storedKey => own.unsubscribe(storedKey),
    close: () => own.disconnect(),
  };
}

/** What is needed of node-redis. Bun's own client has the same methods, but `duplicate` returns a promise. */
interface NodeRedis {
  readonly isReady?: boolean;
  readonly connected?: boolean;
  duplicate(options?: object): NodeRedis | Promise<NodeRedis>;
  connect(): Promise<unknown>;
  subscribe(channel: string, listener: (message: string, channel: string) => void): Promise<unknown>;
  unsubscribe(channel: string): Promise<unknown>;
  on?(event: string, listener: (...args: any[]) => void): unknown;
  destroy?(): unknown;
  disconnect?(): unknown;
  close(): unknown;
}

async function openNodeRedis(
  client: NodeRedis,
  onRelease: (storedKey: string) => void,
): Promise<Subscription> {
  const own = await client.duplicate();
  own.on?.('error', () => {});
  await own.connect();
  return {
    get isUp() {
      return own.isReady ?? own.connected ?? true;
    },
    subscribe: storedKey => own.subscribe(storedKey, (_message, channel) => onRelease(channel)),
    unsubscribe: storedKey => own.unsubscribe(storedKey),
    // Version 4 has no `destroy`.
    close: () => (own.destroy ?? own.disconnect ?? own.close).call(own),
  };
}

function isIoredis(client: object): client is Ioredis {
  return (
    hasMethods(client, ['duplicate', 'subscribe', 'unsubscribe', 'on', 'disconnect']) && 'status' in client
  );
}

function isNodeRedis(client: object): client is NodeRedis {
  return hasMethods(client, ['duplicate', 'subscribe', 'unsubscribe', 'connect']) && !('status' in client);
}

function hasMethods(client: object, names: readonly string[]): boolean {
  return names.every(name => typeof (client as Record<string, unknown>)[name] === 'function');
}
