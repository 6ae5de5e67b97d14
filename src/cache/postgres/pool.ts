/** The pool that a `PostgresCache` runs its queries on. */

/** What is needed of a `pg.Pool`. */
export interface PostgresPool {
  query(text: string, values?: unknown[]): Promise<{ rows: any[] }>;
}

/** Whether it is a `pg.Pool` itself: it prepares statements, and each of its queries is a transaction of its own. */
export function isPool(pool: PostgresPool): boolean {
  return 'Client' in pool && 'totalCount' in pool;
}
