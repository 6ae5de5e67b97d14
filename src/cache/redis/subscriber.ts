/** Subscribes to the channels on which the script of `redis-script.ts` tells of keys, with whichever client there is. */

import { isCluster, type RedisClient } from './client.ts';
import { type Channel, Subscriber } from '../notify/subscriber.ts';

/** How the connection is called in Redis' list of clients. */
const NAME = 'bullmq-once:waiting';

export function redisSubscriber(client: RedisClient): Subscriber {
  // BullMQ wraps node-redis in what can't subscribe.
  const { raw } = client as { raw?: RedisClient };
  const source = raw && isNodeRedis(raw) ? raw : client;
  return new Subscriber(async (tell, lost) => {
    if (isIoredis(source)) return openIoredis(source, tell, lost);
    if (isNodeRedis(source)) return openNodeRedis(source, tell);
    return undefined;
  });
}

/** What is asked of ioredis, and of what BullMQ wraps it in. */
interface Ioredis {
  readonly status: string;
  duplicate(options?: object): Ioredis;
  subscribe(channel: string): Promise<unknown>;
  unsubscribe(channel: string): Promise<unknown>;
  on(event: string, listener: (...args: any[]) => void): unknown;
  disconnect(): void;
}

function openIoredis(client: Ioredis, tell: (key: string) => void, lost: () => void): Channel {
  // The plain client of a cluster takes other arguments.
  const takesOptions = !isCluster(client) || 'runCommand' in client;
  const own = client.duplicate(takesOptions ? { connectionName: NAME } : undefined);
  own.on('error', () => {});
  own.on('end', lost);
  own.on('message', tell);
  return {
    get isUp() {
      return own.status === 'ready';
    },
    listen: key => own.subscribe(key),
    unlisten: key => own.unsubscribe(key),
    close: () => own.disconnect(),
  };
}

/** What is asked of node-redis. Bun's own client has the same, but that its methods answer later. */
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

async function openNodeRedis(client: NodeRedis, tell: (key: string) => void): Promise<Channel> {
  const own = await client.duplicate();
  own.on?.('error', () => {});
  await own.connect();
  return {
    get isUp() {
      return own.isReady ?? own.connected ?? true;
    },
    listen: key => own.subscribe(key, (_message, channel) => tell(channel)),
    unlisten: key => own.unsubscribe(key),
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
