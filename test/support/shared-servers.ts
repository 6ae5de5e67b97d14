/** Servers that take a while to start and that many tests can share: started when first asked for, stopped after all. */

import { type EmbeddedPostgres, startEmbedded } from '../../examples/embedded/postgres.ts';
import { PostgresServer } from './postgres-server.ts';
import { RedisCluster } from './redis-cluster.ts';

interface Stoppable {
  stop(): Promise<void>;
}

const running: Promise<Stoppable>[] = [];

function shared<Server extends Stoppable>(start: () => Promise<Server>): () => Promise<Server> {
  let server: Promise<Server> | undefined;
  return () => {
    if (!server) {
      server = start();
      running.push(server);
    }
    return server;
  };
}

export const sharedPostgres: () => Promise<PostgresServer> = shared(() => PostgresServer.start());

export const sharedCluster: () => Promise<RedisCluster> = shared(() => RedisCluster.start());

/** PostgreSQL in this process. It has one session, so whoever connects waits for the others' transactions. */
export const sharedPglite: () => Promise<EmbeddedPostgres> = shared(() => startEmbedded());

export async function stopSharedServers(): Promise<void> {
  for (const server of running.splice(0)) await (await server).stop();
}
