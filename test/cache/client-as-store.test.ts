/** A client of a datastore is no store: it is refused where it is written, with the wrapper to use. */

import KeyvRedis from '@keyv/redis';
import { GlideClient, GlideClusterClient, Logger } from '@valkey/valkey-glide';
import { createIORedisClient, createNodeRedisClient, createValkeyGlideClient } from 'bullmq';
import * as bullmq5 from 'bullmq5';
import { createCache } from 'cache-manager';
import { expect } from 'chai';
import { Cluster, Redis } from 'ioredis';
import { Cluster as Cluster5, Redis as Redis5 } from 'ioredis5';
import Keyv from 'keyv';
import { LRUCache } from 'lru-cache';
import pg from 'pg';
import { createClient, createClientPool, createCluster, createSentinel } from 'redis';
import { caches, Lock, locksOf, MemoryCache, once, onceProcessor, RedisCache } from '../../src/index.ts';
import { PostgresCache } from '../../src/postgres.ts';
import { redisOptions, redisUrl, uniqueName } from '../support/index.ts';
import { sharedCluster } from '../support/shared-servers.ts';

// It warns of each connection that is closed.
Logger.setLoggerConfig('off');

const closes: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closes.splice(0)) await close();
});

/** Lazy, so that none of them needs a server. */
const LAZY = { lazyConnect: true } as const;
const ROOT = [{ host: '127.0.0.1', port: 1 }];

const ofRedis: Readonly<Record<string, () => unknown>> = {
  'an ioredis 6 client': () => new Redis(LAZY),
  'an ioredis 5 client': () => new Redis5(LAZY),
  'an ioredis cluster': () => new Cluster(ROOT, LAZY),
  'an ioredis 5 cluster': () => new Cluster5(ROOT, LAZY),
  'a pipeline of ioredis': () => new Redis(LAZY).pipeline(),
  'a node-redis client': () => createClient(),
  'a view of a node-redis client': () => createClient().withTypeMapping({}),
  'a node-redis cluster': () => createCluster({ rootNodes: [{ url: redisUrl() }] }),
  'a node-redis pool': () => createClientPool(),
  'a node-redis sentinel': () => createSentinel({ name: 'mine', sentinelRootNodes: ROOT }),
  "BullMQ's wrapper of ioredis": () => createIORedisClient(new Redis(LAZY) as never),
  "BullMQ's wrapper of node-redis": () => createNodeRedisClient(connecting() as never),
  "BullMQ 5's wrapper of node-redis": () => bullmq5.createNodeRedisClient(connecting() as never),
  "Bun's client": () => ({ connected: true, get() {}, set() {}, del() {}, send() {}, duplicate() {} }),
};

/** BullMQ's wrapper connects it at once. */
function connecting() {
  const client = createClient({ url: redisUrl() });
  client.on('error', () => {});
  closes.push(() => client.isOpen && client.destroy());
  return client;
}

const ofPostgres: Readonly<Record<string, () => unknown>> = {
  'a pg.Pool': () => new pg.Pool(),
  'a pg.Client': () => new pg.Client(),
};

const places: Readonly<Record<string, (cache: any) => unknown>> = {
  'new Lock': cache => new Lock('k', { cache }),
  once: cache => once(async () => {}, { key: 'k', cache }),
  onceProcessor: cache => onceProcessor(async () => {}, { key: 'k', cache }),
  'caches.set': cache => caches.set('emails', cache),
  'caches.default': cache => {
    caches.default = cache;
  },
  locksOf: cache => locksOf(cache),
};

describe('A client that is given as a cache', () => {
  for (const [clients, wrapper] of [
    [ofRedis, /new RedisCache\(client\)/],
    [ofPostgres, /new PostgresCache\(pool\), from 'bullmq-once\/postgres'/],
  ] as const) {
    for (const [what, create] of Object.entries(clients)) {
      it(`is refused wherever a cache can be written (${what})`, () => {
        for (const [place, write] of Object.entries(places)) {
          expect(() => write(create()), place).to.throw(TypeError, wrapper);
        }
      });
    }
  }

  it('is refused wherever a cache can be written (Valkey GLIDE, of one server and of a cluster, and its wrapper)', async () => {
    const client = await GlideClient.createClient({ addresses: [redisOptions()] });
    const cluster = await GlideClusterClient.createClient({ addresses: (await sharedCluster()).nodes });
    closes.push(
      () => client.close(),
      () => cluster.close(),
    );

    for (const given of [client, cluster, createValkeyGlideClient(client as never)]) {
      for (const [place, write] of Object.entries(places)) {
        expect(() => write(given), place).to.throw(TypeError, /new RedisCache\(client\)/);
      }
    }
  });

  it('is refused by its name in the registry, where it would be stored', () => {
    expect(() => caches.set('emails', new Redis(LAZY) as never)).to.throw(
      TypeError,
      /caches\.set\('emails', …\)/,
    );
    expect(caches.get('emails')).to.equal(undefined);
    expect(caches.default).to.equal(undefined);
  });
});

describe('A store that is given as a cache', () => {
  const stores: Readonly<Record<string, () => unknown>> = {
    'a Map': () => new Map(),
    'a Keyv': () => new Keyv(),
    'a Keyv on Redis': () => {
      const store = new KeyvRedis(redisUrl());
      closes.push(() => store.disconnect());
      return new Keyv({ store });
    },
    'a cache of cache-manager': () => createCache(),
    'an lru-cache': () => new LRUCache({ max: 100 }),
    'a class of the user that has del': () => new Store(),
    'a class of the user that connects': () =>
      Object.assign(new Store(), { connect: async () => {}, connected: true, send: undefined }),
    'a MemoryCache': () => new MemoryCache(),
    'a RedisCache': () => new RedisCache(new Redis(LAZY)),
    'a PostgresCache': () => new PostgresCache(new pg.Pool()),
  };
  for (const [what, create] of Object.entries(stores)) {
    it(`is accepted (${what})`, async () => {
      const cache = create() as Map<string, unknown>;

      const lock = new Lock(uniqueName('k'), { cache });

      if (!what.endsWith('sCache')) {
        const handle = await lock.acquire();
        expect(handle.held).to.equal(true);
        await handle.release();
      }
    });
  }

  it('is not refused for methods that clients have too, such as a function query', () => {
    const store = Object.assign(new Store(), { query: async () => [] });

    expect(() => new Lock('k', { cache: store })).not.to.throw();
  });
});

/** A store of a user's own. */
class Store {
  readonly #values = new Map<string, unknown>();

  get(key: string): unknown {
    return this.#values.get(key);
  }

  set(key: string, value: unknown): void {
    this.#values.set(key, value);
  }

  del(key: string): void {
    this.#values.delete(key);
  }
}
