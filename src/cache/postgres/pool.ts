/** The pool that a `PostgresCache` runs its queries on. */

/** What is needed of a `pg.Pool`. */
export interface PostgresPool {
  query(text: string, values?: unknown[]): Promise<{ rows: any[] }>;
}
