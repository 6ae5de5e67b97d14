/** bullmq-once/postgres: locks in PostgreSQL. */

export type { PostgresPool } from './cache/postgres/pool.ts';
export { migration, PostgresCache, type PostgresCacheOptions } from './cache/postgres/postgres-cache.ts';
