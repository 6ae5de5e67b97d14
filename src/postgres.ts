/** bullmq-once/postgres: locks in PostgreSQL. */

export { migration, PostgresCache, type PostgresCacheOptions, type PostgresPool } from './caches/postgres.ts';
