/** A real Redis Cluster on this machine: three masters, each with a replica where it is asked for. */

import { Cluster } from 'ioredis';
import { until } from './index.ts';
import { RedisServer } from './redis-server.ts';

const SLOTS = 16_384;
const MASTERS = 3;

/** A slot on its way from one master to another. */
export interface SlotMove {
  readonly slot: number;
  readonly from: RedisServer;
  readonly to: RedisServer;
  /** Moves some of its keys. */
  migrate(keys: readonly string[]): Promise<void>;
  /** Moves the keys that are left, and the slot with them. */
  finish(): Promise<void>;
}

export class RedisCluster {
  readonly masters: readonly RedisServer[];
  readonly replicas: readonly RedisServer[];

  private constructor(masters: readonly RedisServer[], replicas: readonly RedisServer[]) {
    this.masters = masters;
    this.replicas = replicas;
  }

  static async start({ replicas = false }: { replicas?: boolean } = {}): Promise<RedisCluster> {
    const start = () => Promise.all(Array.from({ length: MASTERS }, () => RedisServer.startNode()));
    const cluster = new RedisCluster(await start(), replicas ? await start() : []);
    await cluster.#meet();
    return cluster;
  }

  /** The addresses of the masters, for a client to begin with. */
  get nodes(): { host: string; port: number }[] {
    return this.masters.map(({ port }) => ({ host: '127.0.0.1', port }));
  }

  connect(): Cluster {
    const client = new Cluster(this.nodes, { redisOptions: { maxRetriesPerRequest: null } });
    client.on('error', () => {});
    return client;
  }

  /** How many scripts the masters have run. */
  async countScriptCalls(): Promise<number> {
    const stats = await Promise.all(this.masters.map(master => master.info('commandstats')));
    const counts = stats.flatMap(text => [
      ...text.matchAll(/cmdstat_eval(?:sha)?:calls=(\d+),.*failed_calls=(\d+)/g),
    ]);
    return counts.reduce((sum, [, all, failed]) => sum + Number(all) - Number(failed), 0);
  }

  /** The slot of a key, the master that has it, and another. */
  async mastersFor(key: string): Promise<{ slot: number; from: RedisServer; to: RedisServer }> {
    const [any] = this.masters as readonly [RedisServer];
    const slot = Number(await any.call('CLUSTER', 'KEYSLOT', key));
    const ranges = (await any.call('CLUSTER', 'SLOTS')) as [number, number, [string, number]][];
    const port = ranges.find(([first, last]) => first <= slot && slot <= last)?.[2][1];
    const from = this.masters.find(master => master.port === port);
    const to = this.masters.find(master => master.port !== port);
    if (!from || !to) throw new Error(`no master has the slot ${slot}`);
    return { slot, from, to };
  }

  /**
   * Begins to move the slot of a key to another master. None of its keys has moved yet.
   * @see https://redis.io/docs/latest/commands/cluster-setslot/
   */
  async startMoving(key: string): Promise<SlotMove> {
    const { slot, from, to } = await this.mastersFor(key);
    const [fromId, toId] = await Promise.all(
      [from, to].map(async master => String(await master.call('CLUSTER', 'MYID'))),
    );
    await to.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', String(fromId));
    await from.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', String(toId));
    const migrate = async (keys: readonly string[]) => {
      await from.call('MIGRATE', '127.0.0.1', to.port, '', 0, 5000, 'KEYS', ...keys);
    };
    const finish = async () => {
      const left = (await from.call('CLUSTER', 'GETKEYSINSLOT', slot, 1000)) as string[];
      if (left.length > 0) await migrate(left);
      // The others would learn of it some time later.
      for (const master of new Set([to, from, ...this.masters])) {
        await master.call('CLUSTER', 'SETSLOT', slot, 'NODE', String(toId));
      }
      await until(() => this.#agrees(), 'all masters know who has the slot');
    };
    return { slot, from, to, migrate, finish };
  }

  async stop(): Promise<void> {
    await Promise.all([...this.masters, ...this.replicas].map(server => server.stop()));
  }

  async #meet(): Promise<void> {
    const all = [...this.masters, ...this.replicas];
    for (const [i, master] of this.masters.entries()) {
      const [first, end] = [i, i + 1].map(n => Math.floor((n * SLOTS) / MASTERS)) as [number, number];
      const slots = Array.from({ length: end - first }, (_, slot) => first + slot);
      await master.call('CLUSTER', 'ADDSLOTS', ...slots);
      await master.call('CLUSTER', 'SET-CONFIG-EPOCH', i + 1);
    }
    for (const { port } of all.slice(1)) {
      await (this.masters[0] as RedisServer).call('CLUSTER', 'MEET', '127.0.0.1', port);
    }
    for (const server of all) {
      await until(async () => (await this.#info(server)).includes(`cluster_known_nodes:${all.length}`));
    }
    for (const [i, replica] of this.replicas.entries()) {
      const id = await (this.masters[i] as RedisServer).call('CLUSTER', 'MYID');
      await replica.call('CLUSTER', 'REPLICATE', String(id));
      await until(async () => (await replica.info('replication')).includes('link_status:up'));
    }
    for (const server of all) {
      await until(async () => (await this.#info(server)).includes('cluster_state:ok'));
    }
  }

  async #agrees(): Promise<boolean> {
    const views = await Promise.all(
      this.masters.map(async master => JSON.stringify(await master.call('CLUSTER', 'SLOTS'))),
    );
    return new Set(views).size === 1;
  }

  async #info(server: RedisServer): Promise<string> {
    return String(await server.call('CLUSTER', 'INFO'));
  }
}
