/** Servers that take a while to start and that many tests can share: started when first asked for, stopped after all. */

import { PGlite } from '@electric-sql/pglite';
import { PGLiteSocketServer } from '@electric-sql/pglite-socket';
import { PostgresServer } from './postgres-server.ts';
import { RedisCluster } from './redis-cluster.ts';
import { freePort } from './redis-server.ts';

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
export const sharedPglite: () => Promise<{ url: string; stop(): Promise<void> }> = shared(async () => {
  const db = await PGlite.create();
  const port = await freePort();
  const server = new PGLiteSocketServer({ db, port, host: '127.0.0.1', maxConnections: 100 });
  await server.start();
  return {
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    async stop() {
      await server.stop();
      await db.close();
    },
  };
});

export async function stopSharedServers(): Promise<void> {
  for (const server of running.splice(0)) await (await server).stop();
}
