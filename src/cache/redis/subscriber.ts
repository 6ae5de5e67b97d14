/** Subscribes to the channels on which the scripts of `scripts.ts` notify releases, on any of the supported clients. */

import { Subscriber, type Subscription } from '../notify/subscriber.ts';
import { isCluster, type RedisClient } from './client.ts';

/**
 * How the connection differs from the client's own: its name in Redis' list of clients, and that it waits for its server and
 * subscribes again when that is back, whatever the client does.
 */
const OPTIONS = { connectionName: 'bullmq-once:waiting', autoResubscribe: true, enableOfflineQueue: true };

export function redisSubscriber(client: RedisClient): Subscriber {
  // BullMQ's wrapper of node-redis can't subscribe; the client inside it can.
  const { raw } = client as { raw?: RedisClient };
  const source = raw && isNodeRedis(raw) ? raw : client;
  return new Subscriber((onRelease, onEnd, onGap) => {
    if (isIoredis(source)) return onIoredis(source, onRelease, onEnd, onGap);
    if (isNodeRedis(source)) return onNodeRedis(source, onRelease, onEnd, onGap);
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

function onIoredis(
  client: Ioredis,
  onRelease: (storedKey: string) => void,
  onEnd: () => void,
  onGap: () => void,
): Subscription {
  // The plain client of a cluster takes other arguments.
  const takesOptions = !isCluster(client) || 'runCommand' in client;
  const own = client.duplicate(takesOptions ? OPTIONS : undefined);
  own.on('error', () => {});
  own.on('end', onEnd);
  own.on('message', onRelease);
  own.on('ready', afterTheFirst(onGap));
  return {
    get isUp() {
      return own.status === 'ready';
    },
    // It connects by itself.
    connect: async () => {},
    subscribe: storedKey => own.subscribe(storedKey),
    unsubscribe: storedKey => own.unsubscribe(storedKey),
    close: () => own.disconnect(),
  };
}

/** What is needed of node-redis. Bun's own client has the same methods, but `duplicate` returns a promise. */
interface NodeRedis {
  readonly isOpen?: boolean;
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

function onNodeRedis(
  client: NodeRedis,
  onRelease: (storedKey: string) => void,
  onEnd: () => void,
  onGap: () => void,
): Subscription {
  let own: NodeRedis | undefined;
  let isClosed = false;
  const close = () => {
    isClosed = true;
    // Version 4 has no `destroy`.
    return own && (own.destroy ?? own.disconnect ?? own.close).call(own);
  };
  return {
    get isUp() {
      return own !== undefined && (own.isReady ?? own.connected ?? true);
    },
    async connect() {
      own = await client.duplicate();
      // Without a reconnect strategy an error is the end, and there is no other event.
      own.on?.('error', () => own?.isOpen === false && onEnd());
      own.on?.('end', onEnd);
      own.on?.('ready', afterTheFirst(onGap));
      if (!isClosed) await own.connect();
      if (isClosed) await close();
    },
    subscribe: async storedKey => own?.subscribe(storedKey, (_message, channel) => onRelease(channel)),
    unsubscribe: async storedKey => own?.unsubscribe(storedKey),
    close,
  };
}

/** The first time that a connection is ready nothing was missed. */
function afterTheFirst(call: () => void): () => void {
  let isFirst = true;
  return () => {
    if (!isFirst) call();
    isFirst = false;
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
