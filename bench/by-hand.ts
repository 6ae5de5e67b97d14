/**
 * Locks without a library, on each client. `byHand` is what people write: SET NX with an expiry and a random token, and a script
 * that compares and deletes. It does not renew, so work that takes longer than the ttl is not protected. `plain` is less than a lock:
 * two plain commands, of which the second deletes whatever is there. It shows what two round trips cost.
 */

import { randomUUID } from 'node:crypto';
import { type GlideClient, Script, TimeUnit } from '@valkey/valkey-glide';
import type { Redis } from 'ioredis';
import type { Pool } from 'pg';
import { createClient } from 'redis';

export const TTL = 30_000;

/** Acquires a key. Resolves to a function that releases it, or to nothing where the key is held. */
export type Acquire = (key: string) => Promise<(() => Promise<unknown>) | undefined>;

export interface WithoutLibrary {
  readonly byHand: Acquire;
  readonly plain: Acquire;
}

export const RELEASE = `if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0`;

export function onIoredis(redis: Redis): WithoutLibrary {
  redis.defineCommand('releaseByHand', { numberOfKeys: 1, lua: RELEASE });
  return {
    async byHand(key) {
      const token = randomUUID();
      if ((await redis.set(key, token, 'PX', TTL, 'NX')) !== 'OK') return;
      return () => (redis as any).releaseByHand(key, token);
    },
    async plain(key) {
      if ((await redis.set(key, '1', 'PX', TTL, 'NX')) !== 'OK') return;
      return () => redis.del(key);
    },
  };
}

/** A client of node-redis, which is not connected yet. */
export const nodeRedis = (url: string) => createClient({ url });

export async function onNodeRedis(redis: ReturnType<typeof nodeRedis>): Promise<WithoutLibrary> {
  const sha = await redis.scriptLoad(RELEASE);
  const set = (key: string, value: string) =>
    redis.set(key, value, { expiration: { type: 'PX', value: TTL }, condition: 'NX' });
  return {
    async byHand(key) {
      const token = randomUUID();
      if ((await set(key, token)) !== 'OK') return;
      return () => redis.evalSha(sha, { keys: [key], arguments: [token] });
    },
    async plain(key) {
      if ((await set(key, '1')) !== 'OK') return;
      return () => redis.del(key);
    },
  };
}

export function onGlide(glide: GlideClient): WithoutLibrary {
  const release = new Script(RELEASE);
  const set = (key: string, value: string) =>
    glide.set(key, value, {
      conditionalSet: 'onlyIfDoesNotExist',
      expiry: { type: TimeUnit.Milliseconds, count: TTL },
    });
  return {
    async byHand(key) {
      const token = randomUUID();
      if ((await set(key, token)) !== 'OK') return;
      return () => glide.invokeScript(release, { keys: [key], args: [token] });
    },
    async plain(key) {
      if ((await set(key, '1')) !== 'OK') return;
      return () => glide.del([key]);
    },
  };
}

/** The same in SQL. */
export async function onPostgres(pool: Pool): Promise<WithoutLibrary> {
  await pool.query(
    'CREATE TABLE IF NOT EXISTS locks_by_hand (key text PRIMARY KEY, token uuid NOT NULL, expires timestamptz NOT NULL)',
  );
  await pool.query('CREATE TABLE IF NOT EXISTS plain_keys (key text PRIMARY KEY)');
  return {
    async byHand(key) {
      const token = randomUUID();
      const acquired = await pool.query({
        name: 'acquire',
        text: `INSERT INTO locks_by_hand AS held VALUES ($1, $2, now() + $3 * interval '1 ms') ON CONFLICT (key)
          DO UPDATE SET token = excluded.token, expires = excluded.expires WHERE held.expires < now()`,
        values: [key, token, TTL],
      });
      if (acquired.rowCount !== 1) return;
      return () =>
        pool.query({
          name: 'release',
          text: 'DELETE FROM locks_by_hand WHERE key = $1 AND token = $2',
          values: [key, token],
        });
    },
    async plain(key) {
      const inserted = await pool.query({
        name: 'insert',
        text: 'INSERT INTO plain_keys VALUES ($1) ON CONFLICT DO NOTHING',
        values: [key],
      });
      if (inserted.rowCount !== 1) return;
      return () =>
        pool.query({ name: 'delete', text: 'DELETE FROM plain_keys WHERE key = $1', values: [key] });
    },
  };
}
