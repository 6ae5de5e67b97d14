/** A real Redis Cluster on this machine: three masters, each with a replica where it is asked for. */

import { Cluster } from 'ioredis';
import { until } from './index.ts';
import { RedisServer } from './redis-server.ts';

const SLOTS = 16_384;
const MASTERS = 3;

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

  async #info(server: RedisServer): Promise<string> {
    return String(await server.call('CLUSTER', 'INFO'));
  }
}
