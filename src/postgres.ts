/** bullmq-once/postgres: locks in PostgreSQL. */

export {
  migration,
  PostgresCache,
  type PostgresCacheOptions,
  type PostgresPool,
} from './cache/postgres/postgres-cache.ts';
