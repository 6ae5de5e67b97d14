/** The listening connections of real clients: none leaks, none crashes the process, and no waiter relies on one that hears nothing. */

import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { Redis, type RedisOptions } from 'ioredis';
import { Redis as Redis5 } from 'ioredis5';
import pg from 'pg';
import { createClient } from 'redis';
import { Lock, type LockHandle, RedisCache } from '../../../src/index.ts';
import { PostgresCache } from '../../../src/postgres.ts';
import { TcpProxy } from '../../faults/tcp-proxy.ts';
import { uniqueName, until } from '../../support/index.ts';
import { RedisServer } from '../../support/redis-server.ts';
import { sharedPostgres } from '../../support/shared-servers.ts';

/** Longer than the time for which a connection stays open after its last listener. */
const AFTER_LINGER_MS = 1300;
/** How long each message is under way to a server that is slow. */
const SLOW_MS = 700;

interface OpenClient {
  readonly cache: RedisCache;
  close(): unknown;
}

interface Client {
  /** Another client of the same kind is tried with all that all of the kind do alike. */
  readonly isVariant?: true;
  open(port: number): Promise<OpenClient>;
}

const CLIENTS: Readonly<Record<string, Client>> = {
  'ioredis 6': { open: port => connectIoredis(Redis, port) },
  'ioredis 5': { isVariant: true, open: port => connectIoredis(Redis5 as never, port) },
  'ioredis with autoResubscribe: false': {
    isVariant: true,
    open: port => connectIoredis(Redis, port, { autoResubscribe: false }),
  },
  'node-redis': { open: port => connectNodeRedis(port) },
  'node-redis with reconnectStrategy: false': {
    isVariant: true,
    open: port => connectNodeRedis(port, { reconnectStrategy: false }),
  },
};

async function connectIoredis(
  Client: typeof Redis,
  port: number,
  options: RedisOptions = {},
): Promise<OpenClient> {
  const all: RedisOptions = { port, host: '127.0.0.1', maxRetriesPerRequest: null, ...options };
  const client = new Client(all as { host: string });
  client.on('error', () => {});
  await client.ping();
  return { cache: new RedisCache(client), close: () => client.disconnect() };
}

async function connectNodeRedis(port: number, socket: object = {}): Promise<OpenClient> {
  const client = createClient({ socket: { port, host: '127.0.0.1', ...socket } as never });
  client.on('error', () => {});
  await client.connect();
  return { cache: new RedisCache(client as never), close: () => client.isOpen && client.destroy() };
}

for (const [name, { open, isVariant }] of Object.entries(CLIENTS)) {
  describe(`The listening connection of ${name}`, () => {
    let server: RedisServer;
    let proxy: TcpProxy;
    let client: OpenClient;
    beforeEach(async () => {
      server = await RedisServer.start();
      proxy = await TcpProxy.start(server.port);
      client = await open(proxy.port);
    });
    afterEach(async () => {
      proxy.repair();
      await client.close();
      await proxy.stop();
      await server.stop();
    });

    /** How many clients the server has, without the one that asks. */
    const connections = async () =>
      Number(/connected_clients:(\d+)/.exec(await server.info('clients'))?.[1]) - 1;
    const channels = async () => ((await server.call('PUBSUB', 'CHANNELS')) as string[]).length;

    if (!isVariant) {
      it('is closed after waiters that gave up while it was opened (the server is slow)', async () => {
        proxy.slow(() => SLOW_MS);
        for (let i = 0; i < 3; i++) client.cache.listen(`k${i}`, () => {}).stop();

        await until(async () => (await connections()) === 2, 'the connection is open');
        await until(async () => (await connections()) === 1, 'it is closed');
      });

      it('has no more channels than there are keys with waiters (a thousand waits of 1 ms beside a long one)', async () => {
        const long = client.cache.listen('long', () => {});
        await until(() => long.isListening);

        await Promise.all(
          Array.from({ length: 1000 }, async (_, i) => {
            const listener = client.cache.listen(`short ${i}`, () => {});
            await delay(1);
            listener.stop();
          }),
        );

        await until(async () => (await channels()) === 1, 'one channel is left');
        expect(await connections()).to.equal(2);
        expect(long.isListening).to.equal(true);
        long.stop();
        await until(async () => (await connections()) === 1, 'the connection is closed');
      });
    }

    it('harms nothing when its listeners leave after it has ended for good (the server is gone)', async () => {
      const listener = client.cache.listen('k', () => {});
      await until(() => listener.isListening);

      await server.kill();
      proxy.cut();
      await until(() => !listener.isListening);
      listener.stop();
      // An error that nobody handles would fail this test meanwhile.
      await delay(AFTER_LINGER_MS);

      const next = client.cache.listen('k', () => {});
      expect(next.isListening).to.equal(false);
      next.stop();
    });

    it('is not relied on after it was dropped, unless it hears notifications again', async () => {
      const { cache } = client;
      const holder = await new Lock('k', { cache }).acquire();
      const listener = cache.listen('once::1:default:k', () => {});
      await until(() => listener.isListening);
      await server.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
      // Time for it to come back, and for the waiter to ask less and less often.
      await delay(500);
      const waiting = new Lock('k', { cache }).acquire({ waitFor: 30_000 });
      await delay(700);

      const { served, handle } = await servedAfter(holder, waiting);

      expect(served, 'ms until the waiter was served').to.be.below(1000);
      listener.stop();
      await handle.release();
    });

    it('lets a waiter ask soon when the key was released while it was dropped', async () => {
      const { cache } = client;
      const holder = await new Lock('k', { cache }).acquire();
      const listener = cache.listen('once::1:default:k', () => {});
      await until(() => listener.isListening);
      const waiting = new Lock('k', { cache }).acquire({ waitFor: 30_000 });
      await delay(500);

      await server.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
      const { served, handle } = await servedAfter(holder, waiting);

      expect(served, 'ms until the waiter was served').to.be.below(1500);
      listener.stop();
      await handle.release();
    });
  });
}

/** Releases the key, and measures how many ms its waiter waits on. */
async function servedAfter(
  holder: LockHandle,
  waiting: Promise<LockHandle>,
): Promise<{ served: number; handle: LockHandle }> {
  const releasedAt = performance.now();
  await holder.release();
  const handle = await waiting;
  return { served: performance.now() - releasedAt, handle };
}

describe('The listening connection of a pg.Pool', () => {
  let proxy: TcpProxy;
  let pool: pg.Pool;
  const clients: CountedClient[] = [];

  /** A client that knows whether it was closed. */
  class CountedClient extends pg.Client {
    isListening = false;
    isEnded = false;

    constructor(config?: string | pg.ClientConfig) {
      super(config);
      this.on('error', () => {});
      clients.push(this);
    }

    override query(...args: any[]): any {
      if (String(args[0]).startsWith('LISTEN')) this.isListening = true;
      return (super.query as any)(...args);
    }

    override end(...args: any[]): any {
      this.isEnded = true;
      return (super.end as any)(...args);
    }
  }

  beforeEach(async () => {
    clients.length = 0;
    const server = await sharedPostgres();
    proxy = await TcpProxy.start(server.port);
    pool = new pg.Pool({ connectionString: server.urlAt(proxy.port), Client: CountedClient as never });
    pool.on('error', () => {});
  });
  afterEach(async () => {
    proxy.repair();
    await pool.end();
    await proxy.stop();
  });

  it('is closed after waiters that gave up while it was opened (the server is slow, three times)', async () => {
    proxy.slow(() => SLOW_MS);
    for (let i = 0; i < 3; i++) {
      const cache = new PostgresCache(pool);
      cache.listen('k', () => {}).stop();
    }

    await until(() => clients.filter(({ isEnded }) => isEnded).length === 3, 'all three are closed');
  });

  it('is closed after waiters that gave up, though its server never answers', async () => {
    proxy.stall();
    const before = clients.length;
    new PostgresCache(pool).listen('k', () => {}).stop();

    await until(() => clients.length > before);
    await until(() => clients.at(-1)?.isEnded, 'it is closed', 5000);
  });

  it('is not relied on while it hears nothing (the replies of its server are lost)', async () => {
    const listener = new PostgresCache(pool).listen('k', () => {});
    await until(() => listener.isListening);

    proxy.loseReplies();

    await until(() => !listener.isListening, 'it is not relied on', 8000);
    listener.stop();
  });

  it('lets a waiter ask at once when the key was released while it was terminated', async () => {
    const cache = new PostgresCache(pool);
    const key = uniqueName('k');
    const holder = await new Lock(key, { cache }).acquire();
    const waiting = new Lock(key, { cache }).acquire({ waitFor: 30_000 });
    const listener = cache.listen(`once::1:default:${key}`, () => {});
    await until(() => listener.isListening);
    await delay(600);

    const victims = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'";
    await pool.query(victims);
    const { served, handle } = await servedAfter(holder, waiting);

    expect(served, 'ms until the waiter was served').to.be.below(1500);
    listener.stop();
    await handle.release();
  });
});
