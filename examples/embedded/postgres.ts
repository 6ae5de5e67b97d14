/** PostgreSQL in this process (PGlite), for BullMQ 6 and its locks: no server to install, nothing left behind. */

import { PGlite } from '@electric-sql/pglite';
import { PGLiteSocketServer } from '@electric-sql/pglite-socket';
import { runMigrations } from 'bullmq';
import pg from 'pg';

export interface EmbeddedPostgres {
  /** What a queue or a worker connects to, here and in other processes. */
  readonly url: string;
  stop(): Promise<void>;
}

/** @param folder - where the data are stored; without it in memory. */
export async function startEmbedded(folder?: string): Promise<EmbeddedPostgres> {
  const db = await PGlite.create(folder ?? 'memory://');
  const server = new PGLiteSocketServer({ db, host: '127.0.0.1', port: 0, maxConnections: 100 });
  await server.start();
  const url = `postgres://postgres@${server.getServerConn()}/postgres`;

  const client = new pg.Client(url);
  await client.connect();
  await runMigrations(client);
  // PGlite has one session for all connections, and does not read the search_path that BullMQ connects with.
  await client.query('SET search_path TO bullmq, public');
  await client.end();

  return {
    url,
    async stop() {
      await server.stop();
      await db.close();
    },
  };
}
