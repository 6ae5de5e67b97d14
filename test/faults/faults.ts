/** What is broken: where, how, and what may be lost by it. */

import { setTimeout as delay } from 'node:timers/promises';
import type { Child } from '../support/child.ts';
import { until } from '../support/index.ts';
import type { RedisServer } from '../support/redis-server.ts';
import type { Crew } from './crew.ts';
import { now, type Recorder } from './history.ts';
import type { Random } from './random.ts';
import type {
  ClusterStore,
  PostgresStore,
  RedisStore,
  SentinelStore,
  STORES,
  Store,
  StoreName,
} from './stores.ts';

/** Where a fault happens. */
export interface Ground<Place extends Store = Store> {
  readonly store: Place;
  readonly crew: Crew;
  readonly random: Random;
  readonly recorder: Recorder;
  /** Of the locks, in ms. */
  readonly ttl: number;
}

export interface Fault<Place extends Store = Store> {
  readonly name: string;
  /** Breaks something, and makes it well again. */
  inject(ground: Ground<Place>): Promise<void>;
  /** How often at most in one go, where the store is not what it was afterwards. */
  readonly most?: number;
  /** How fast the workers' clocks go. */
  readonly clock?: number;
  /**
   * A worker may never end by itself: BullMQ waits for its next job by a command that blocks, and where the master of a cluster is
   * lost, ioredis may neither answer that command nor fail it.
   */
  readonly mayHang?: boolean;
  /** Jobs that fail wait before they are tried again: not where that would be decided by a clock that jumps. */
  readonly noBackoff?: boolean;
}

/** A fault of each kind, and the store it happens to. */
export interface Case {
  readonly fault: Fault;
  readonly store: StoreName;
}

const NONE: Fault = { name: 'no fault', inject: () => delay(100) };

const OF_WORKERS: readonly Fault[] = [
  {
    name: 'a worker is killed',
    async inject({ crew, random }) {
      await crew.kill(random.oneOf(crew.members));
      await crew.join(1);
    },
  },
  {
    name: 'a worker is stopped, and goes on',
    async inject({ crew, random, ttl }) {
      const member = random.oneOf(crew.members);
      await stopFor(member, random.between(ttl * 0.2, ttl * 2));
    },
  },
  {
    name: 'an event loop is blocked',
    async inject({ crew, random, ttl }) {
      const ms = random.between(ttl * 0.5, ttl * 1.5);
      crew.tell(random.oneOf(crew.members), { block: ms });
      await delay(ms);
    },
  },
];

const OF_CLOCKS: readonly Fault[] = [
  {
    name: 'wall clocks jump',
    noBackoff: true,
    async inject({ crew, random }) {
      crew.tell(random.oneOf(crew.members), { jump: random.between(-3_600_000, 3_600_000) });
      await delay(200);
    },
  },
  {
    name: "the workers' clocks are slow",
    clock: 0.95,
    inject: ground => stopOne(ground),
  },
  {
    name: "the workers' clocks are fast",
    clock: 1.05,
    inject: ground => stopOne(ground),
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
      await forgetting(recorder, async () => {
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
      await forgetting(recorder, () => store.server.call('FLUSHALL'));
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

const OF_A_LASTING_REDIS: readonly Fault<RedisStore>[] = [
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
      store.proxy.heal();
    },
  },
  {
    name: 'the network stalls',
    async inject({ store, random, ttl }) {
      store.proxy.stall();
      await delay(random.between(ttl * 0.2, ttl * 2));
      store.proxy.heal();
    },
  },
  {
    name: 'answers are lost',
    async inject({ store, random, ttl }) {
      store.proxy.loseReplies();
      await delay(random.between(20, ttl));
      store.proxy.heal();
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
      store.proxy.heal();
    },
  },
];

const OF_SENTINEL: readonly Fault<SentinelStore>[] = [
  {
    name: 'a fail-over',
    most: 1,
    async inject({ store, recorder }) {
      await forgetting(recorder, () => store.sentinel.failOver());
    },
  },
];

const OF_A_CLUSTER: readonly Fault<ClusterStore>[] = [
  {
    name: "the queue's slot moves",
    async inject({ store, random }) {
      const { slot, master: from } = await homeOf(store);
      await moveSlot(slot, from, random.oneOf(store.cluster.masters.filter(master => master !== from)));
    },
  },
  {
    name: "the queue's master is lost",
    most: 1,
    mayHang: true,
    async inject({ store, recorder }) {
      const { masters, replicas } = store.cluster;
      const { master } = await homeOf(store);
      const replica = replicas[masters.indexOf(master)] as RedisServer;
      await forgetting(recorder, async () => {
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

/** A worker's trouble and the datastore's, at the same time. */
function both<Place extends Store>(ofTheStore: readonly Fault<Place>[]): Fault<Place> {
  return {
    name: 'two of these at once',
    async inject(ground) {
      const { random } = ground;
      await Promise.all([random.oneOf(OF_WORKERS).inject(ground), random.oneOf(ofTheStore).inject(ground)]);
    },
  };
}

/** All that is broken, in the order in which it is. */
export const CASES: readonly Case[] = [
  ...on('Redis', [
    NONE,
    ...OF_WORKERS,
    ...OF_CLOCKS,
    ...OF_REDIS,
    ...OF_A_NETWORK,
    both([...OF_REDIS, ...OF_A_NETWORK]),
  ]),
  ...on('Redis with a log', OF_A_LASTING_REDIS),
  ...on('Redis Sentinel', OF_SENTINEL),
  ...on('Redis Cluster', OF_A_CLUSTER),
  ...on('PostgreSQL', [
    NONE,
    ...OF_WORKERS,
    ...OF_POSTGRES,
    ...OF_A_NETWORK,
    both([...OF_POSTGRES, ...OF_A_NETWORK]),
  ]),
];

/** Types see to it that a fault gets the store that it knows. */
function on<Name extends StoreName>(
  store: Name,
  faults: readonly Fault<Awaited<ReturnType<(typeof STORES)[Name]>>>[],
): Case[] {
  return faults.map(fault => ({ fault: fault as Fault, store }));
}

async function stopFor(member: Child, ms: number): Promise<void> {
  member.signal('SIGSTOP');
  await delay(ms);
  member.signal('SIGCONT');
}

function stopOne({ crew, random, ttl }: Ground): Promise<void> {
  return stopFor(random.oneOf(crew.members), random.between(ttl * 0.5, ttl * 1.5));
}

/** Does what may make the datastore forget. */
async function forgetting(recorder: Recorder, act: () => Promise<unknown>): Promise<void> {
  const from = now();
  await act();
  recorder.write({ event: 'forgot', from });
}

/** The slot of the queue, and the master that has it. */
async function homeOf({ cluster, prefix }: ClusterStore): Promise<{ slot: number; master: RedisServer }> {
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
