/** How long one lock takes on each client: one acquisition and one release after another, as a lone caller sees it. */

import { GlideClient } from '@valkey/valkey-glide';
import { RedisCache } from 'bullmq-once';
import { PostgresCache } from 'bullmq-once/postgres';
import { Redis } from 'ioredis';
import pg from 'pg';
import { nodeRedis, onGlide, onIoredis, onNodeRedis, onPostgres, type WithoutLibrary } from '../by-hand.ts';
import { type Locker, ours } from '../lockers.ts';
import { oneAfterAnother } from '../locking.ts';
import { measure } from '../measure.ts';
import { type Cell, figure, type Report, ratio, table } from '../report.ts';
import type { Settings } from '../settings.ts';
import type { Servers } from '../stores.ts';

interface Connected {
  readonly cache: RedisCache | PostgresCache;
  readonly without: WithoutLibrary;
  close(): unknown;
}

const CLIENTS: Record<string, (servers: Servers) => Promise<Connected>> = {
  async ioredis(servers) {
    const redis = new Redis(servers.redis);
    return { cache: new RedisCache(redis), without: onIoredis(redis), close: () => redis.disconnect() };
  },
  async 'node-redis'(servers) {
    const redis = nodeRedis(servers.redis);
    await redis.connect();
    const without = await onNodeRedis(redis);
    return { cache: new RedisCache(redis as never), without, close: () => redis.destroy() };
  },
  async 'Valkey GLIDE'(servers) {
    const { hostname: host, port } = new URL(servers.redis);
    const glide = await GlideClient.createClient({ addresses: [{ host, port: Number(port) }] });
    return { cache: new RedisCache(glide), without: onGlide(glide), close: () => glide.close() };
  },
  async PostgreSQL(servers) {
    const pool = new pg.Pool({ connectionString: servers.postgres, max: 10 });
    return { cache: new PostgresCache(pool), without: await onPostgres(pool), close: () => pool.end() };
  },
};

export async function clients({ servers, rounds, scale }: Settings): Promise<Report> {
  const times = Math.ceil(2000 / scale);
  const rows: (string | Cell)[][] = [];
  for (const [client, connect] of Object.entries(CLIENTS)) {
    const { cache, without, close } = await connect(servers);
    const lockers: Locker[] = [
      { name: 'two plain commands', acquire: without.plain },
      { name: 'by hand', acquire: without.byHand },
      ours(cache),
    ];
    for (const locker of lockers) await oneAfterAnother(locker, times);
    const measured = await measure(
      lockers.map(locker => ({ name: locker.name, run: () => oneAfterAnother(locker, times) })),
      rounds,
    );
    for (const { name, figures, ratios } of measured) {
      rows.push([
        `${client}: ${name}`,
        figure(figures['µs to acquire']),
        figure(figures['µs to release']),
        figure(figures['µs for both']),
        ratio(ratios['µs for both']),
      ]);
    }
    await close();
  }
  return [
    '## One lock on each client',
    'One acquisition and one release after another, each on the same connection or pool. The plain commands are `SET NX PX` and `DEL` ' +
      '(on PostgreSQL `INSERT … ON CONFLICT DO NOTHING` and `DELETE`), which is less than a lock. By hand is `SET NX PX` with a ' +
      'random token, and a script that compares and deletes (on PostgreSQL the same in two statements). Ratios are to the plain commands.',
    table(['', 'µs to acquire', 'µs to release', 'µs for both', 'relative'], rows),
  ];
}
