/** The faults: what is broken, on which datastore, and what may be lost by it. */

import { setTimeout as delay } from 'node:timers/promises';
import type { Queue } from 'bullmq';
import type { Child } from '../support/child.ts';
import { until } from '../support/index.ts';
import type { RedisServer } from '../support/redis-server.ts';
import { OF_OPERATORS, OF_PROCESSES } from './faults-of-operators.ts';
import { OF_SERVER_CLOCKS } from './faults-of-server-clocks.ts';
import { now, type Recorder } from './history.ts';
import type { Random } from './random.ts';
import { ServerClock } from './server-clock.ts';
import type {
  ClusterStore,
  PooledPostgresStore,
  PostgresStore,
  RedisStore,
  SentinelStore,
  STORES,
  Store,
  StoreName,
} from './stores.ts';
import type { WorkerPool } from './worker-pool.ts';

/** What a fault can break. */
export interface FaultContext<Target extends Store = Store> {
  readonly store: Target;
  readonly queues: readonly Queue[];
  readonly pool: WorkerPool;
  readonly random: Random;
  readonly recorder: Recorder;
  /** The ttl of the locks, in ms. */
  readonly ttl: number;
}

export interface Fault<Target extends Store = Store> {
  readonly name: string;
  /** Breaks something, and repairs it. */
  inject(context: FaultContext<Target>): Promise<void>;
  /** How often it is injected at most in one round. The store is not what it was afterwards, and is opened anew. */
  readonly maxPerRound?: number;
  /** How fast the workers' monotonic clocks run; 1 is right. */
  readonly clockRate?: number;
  /**
   * A worker may never end by itself: BullMQ waits for its next job by a command that blocks, and where the master of a cluster
   * is lost, ioredis may neither answer that command nor fail it.
   */
  readonly mayHang?: boolean;
  /** How many queues there are; several share a scope. 1 unless it is given. */
  readonly queues?: number;
  /** How many workers a process has for each queue; 1 unless it is given. */
  readonly workersPerQueue?: number;
  /** Jobs that failed are retried at once: a clock that jumps would decide when their backoff ends. */
  readonly noBackoff?: boolean;
}

/** A fault, and the store on which it is injected. */
export interface Case {
  readonly fault: Fault;
  readonly store: StoreName;
}

const NONE: Fault = { name: 'no fault', inject: () => delay(100) };

const OF_WORKERS: readonly Fault[] = [
  {
    name: 'a worker is killed',
    async inject({ pool, random }) {
      await pool.kill(random.oneOf(pool.workers));
      await pool.start(1);
    },
  },
  {
    name: 'a worker is stopped, and goes on',
    async inject({ pool, random, ttl }) {
      await suspend(random.oneOf(pool.workers), random.between(ttl * 0.2, ttl * 2));
    },
  },
  {
    name: 'an event loop is blocked',
    async inject({ pool, random, ttl }) {
      const ms = random.between(ttl * 0.5, ttl * 1.5);
      pool.send(random.oneOf(pool.workers), { block: ms });
      await delay(ms);
    },
  },
];

const OF_CLOCKS: readonly Fault[] = [
  {
    name: 'wall clocks jump',
    noBackoff: true,
    async inject({ pool, random }) {
      pool.send(random.oneOf(pool.workers), { jump: random.between(-3_600_000, 3_600_000) });
      await delay(200);
    },
  },
  {
    name: "the workers' clocks are slow",
    clockRate: 0.95,
    inject: suspendOne,
  },
  {
    name: "the workers' clocks are fast",
    clockRate: 1.05,
    inject: suspendOne,
  },
];

const OF_REDIS: readonly Fault<RedisStore>[] = [
  {
    name: 'the server is stopped, and goes on',
    async inject({ store, random, ttl }) {
      store.server.freeze();
      await delay(random.between(ttl * 0.2, ttl * 2));
      store.server.thaw();
    },
  },
  {
    name: 'the server is killed, and starts empty',
    async inject({ store, recorder, random }) {
      await losingData(recorder, async () => {
        await store.server.kill();
        await delay(random.between(0, 500));
        await store.server.restart();
      });
    },
  },
  {
    name: 'CLIENT KILL',
    async inject({ store }) {
      await store.server.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    },
  },
  {
    name: 'SCRIPT FLUSH',
    async inject({ store }) {
      await store.server.call('SCRIPT', 'FLUSH');
    },
  },
  {
    name: 'FLUSHALL',
    async inject({ store, recorder }) {
      await losingData(recorder, () => store.server.call('FLUSHALL'));
    },
  },
  {
    name: 'CLIENT PAUSE',
    async inject({ store, random, ttl }) {
      const ms = random.between(ttl * 0.2, ttl * 1.5);
      await store.server.call('CLIENT', 'PAUSE', ms, random.oneOf(['ALL', 'WRITE']));
      await delay(ms);
    },
  },
  {
    name: 'out of memory',
    async inject({ store, random, ttl }) {
      await store.server.call('CONFIG', 'SET', 'maxmemory', 1);
      await delay(random.between(ttl * 0.2, ttl * 2));
      await store.server.call('CONFIG', 'SET', 'maxmemory', 0);
    },
  },
  {
    name: 'a read-only replica',
    async inject({ store, random, ttl }) {
      await store.server.call('REPLICAOF', '127.0.0.1', 1);
      await delay(random.between(ttl * 0.2, ttl * 2));
      await store.server.call('REPLICAOF', 'NO', 'ONE');
    },
  },
];

const OF_A_DURABLE_REDIS: readonly Fault<RedisStore>[] = [
  {
    name: 'the server is killed, and remembers',
    async inject({ store, random, ttl }) {
      await store.server.kill();
      await delay(random.between(0, ttl));
      await store.server.restart();
    },
  },
];

const OF_A_NETWORK: readonly Fault<RedisStore | PostgresStore>[] = [
  {
    name: 'the network is slow',
    async inject({ store, random, ttl }) {
      store.proxy.slow(() => random.between(0, ttl / 8));
      await delay(ttl);
      store.proxy.repair();
    },
  },
  {
    name: 'the network stalls',
    async inject({ store, random, ttl }) {
      store.proxy.stall();
      await delay(random.between(ttl * 0.2, ttl * 2));
      store.proxy.repair();
    },
  },
  {
    name: 'answers are lost',
    async inject({ store, random, ttl }) {
      store.proxy.loseReplies();
      await delay(random.between(20, ttl));
      store.proxy.repair();
    },
  },
  {
    name: 'connections are cut',
    async inject({ store }) {
      store.proxy.cut();
    },
  },
  {
    name: 'connections are half open',
    async inject({ store, random, ttl }) {
      store.proxy.halfOpen();
      await delay(random.between(ttl * 0.2, ttl * 1.5));
      store.proxy.repair();
    },
  },
];

const OF_SENTINEL: readonly Fault<SentinelStore>[] = [
  {
    name: 'a fail-over',
    maxPerRound: 1,
    async inject({ store, recorder }) {
      await losingData(recorder, () => store.sentinel.failOver());
    },
  },
];

const OF_A_CLUSTER: readonly Fault<ClusterStore>[] = [
  {
    name: "the queue's slot moves",
    async inject({ store, random }) {
      const { slot, master: from } = await masterOf(store);
      await moveSlot(slot, from, random.oneOf(store.cluster.masters.filter(master => master !== from)));
    },
  },
  {
    name: "the queue's master is lost",
    maxPerRound: 1,
    mayHang: true,
    async inject({ store, recorder }) {
      const { masters, replicas } = store.cluster;
      const { master } = await masterOf(store);
      const replica = replicas[masters.indexOf(master)] as RedisServer;
      await losingData(recorder, async () => {
        await master.kill();
        await until(async () => (await replica.info('replication')).includes('role:master'));
      });
    },
  },
];

const OF_POSTGRES: readonly Fault<PostgresStore>[] = [
  {
    name: 'the server is killed, and recovers',
    async inject({ store, random, ttl }) {
      await store.server.kill();
      await delay(random.between(0, ttl));
      await store.server.restart();
    },
  },
  {
    name: 'connections are terminated',
    async inject({ store }) {
      const others = "backend_type = 'client backend' AND pid <> pg_backend_pid()";
      await store.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE ${others}`);
    },
  },
];

const OF_A_POOLER: readonly Fault<PooledPostgresStore>[] = [
  {
    name: 'the pooler is killed, and starts again',
    inject: ({ store }) => store.bouncer.restart(),
  },
];

/** A fault of a worker and one of the datastore, at the same time. */
function both<Target extends Store>(ofTheStore: readonly Fault<Target>[]): Fault<Target> {
  return {
    name: 'two of these at once',
    async inject(context) {
      const { random } = context;
      await Promise.all([random.oneOf(OF_WORKERS).inject(context), random.oneOf(ofTheStore).inject(context)]);
    },
  };
}

/** All faults, in the order in which they are injected. */
export const CASES: readonly Case[] = [
  ...on('Redis', [
    NONE,
    ...OF_WORKERS,
    ...OF_OPERATORS,
    ...OF_PROCESSES,
    ...OF_CLOCKS,
    ...OF_REDIS,
    ...OF_A_NETWORK,
    both([...OF_REDIS, ...OF_A_NETWORK]),
  ]),
  ...on('Redis with a log', OF_A_DURABLE_REDIS),
  ...(ServerClock.isAvailable ? on('Redis with a clock', OF_SERVER_CLOCKS) : []),
  ...on('Redis Sentinel', OF_SENTINEL),
  ...on('Redis Cluster', OF_A_CLUSTER),
  ...on('PostgreSQL', [
    NONE,
    ...OF_WORKERS,
    ...OF_OPERATORS,
    ...OF_PROCESSES,
    ...OF_POSTGRES,
    ...OF_A_NETWORK,
    both([...OF_POSTGRES, ...OF_A_NETWORK]),
  ]),
  ...on('PgBouncer', [NONE, ...OF_WORKERS, ...OF_A_POOLER, ...OF_POSTGRES]),
];

/** The types make sure that a fault gets the kind of store that it is for. */
function on<Name extends StoreName>(
  store: Name,
  faults: readonly Fault<Awaited<ReturnType<(typeof STORES)[Name]>>>[],
): Case[] {
  return faults.map(fault => ({ fault: fault as Fault, store }));
}

async function suspend(worker: Child, ms: number): Promise<void> {
  worker.signal('SIGSTOP');
  await delay(ms);
  worker.signal('SIGCONT');
}

function suspendOne({ pool, random, ttl }: FaultContext): Promise<void> {
  return suspend(random.oneOf(pool.workers), random.between(ttl * 0.5, ttl * 1.5));
}

/** Does something by which the datastore may lose data. */
async function losingData(recorder: Recorder, act: () => Promise<unknown>): Promise<void> {
  const from = now();
  await act();
  recorder.record({ event: 'data-lost', from });
}

/** The slot of the queue, and the master that has it. */
async function masterOf({ cluster, prefix }: ClusterStore): Promise<{ slot: number; master: RedisServer }> {
  const any = cluster.masters[0] as RedisServer;
  const slot = Number(await any.call('CLUSTER', 'KEYSLOT', prefix));
  const ranges = (await any.call('CLUSTER', 'SLOTS')) as [number, number, [string, number]][];
  const range = ranges.find(([first, last]) => first <= slot && slot <= last);
  const master = cluster.masters.find(({ port }) => port === range?.[2][1]);
  if (!master) throw new Error(`no master has the slot ${slot}`);
  return { slot, master };
}

/** @see https://redis.io/docs/latest/commands/cluster-setslot/ */
async function moveSlot(slot: number, from: RedisServer, to: RedisServer): Promise<void> {
  const [fromId, toId] = await Promise.all(
    [from, to].map(async node => String(await node.call('CLUSTER', 'MYID'))),
  );
  await to.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', fromId as string);
  await from.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', toId as string);
  for (;;) {
    const keys = (await from.call('CLUSTER', 'GETKEYSINSLOT', slot, 10)) as string[];
    if (keys.length === 0) break;
    await from.call('MIGRATE', '127.0.0.1', to.port, '', 0, 5000, 'KEYS', ...keys);
  }
  for (const node of [to, from]) await node.call('CLUSTER', 'SETSLOT', slot, 'NODE', toId as string);
}
