/**
 * Runs queries as prepared statements: the server parses and plans each once a connection. A pooler that gives a server's
 * connection to others between two queries can't have them, and says so before it does anything. From then on this cache's
 * queries are sent without.
 */

import { createHash } from 'node:crypto';
import { codeOf } from './error-codes.ts';
import { isPool, type PostgresPool } from './pool.ts';

interface Rows {
  rows: any[];
}

/** A `pg.Pool` takes a query with a name too. */
interface PreparingPool {
  query(query: { name: string; text: string; values: unknown[] }): Promise<Rows>;
}

/**
 * The connection has no such statement, or has one of that name already; or its result has changed. They come before the
 * statement is executed.
 */
const NOT_PREPARED_CODES = ['26000', '42P05', '0A000'];

export class PreparedQueries {
  readonly #pool: PostgresPool;
  readonly #names = new Map<string, string>();
  #canPrepare: boolean;

  constructor(pool: PostgresPool) {
    this.#pool = pool;
    this.#canPrepare = isPool(pool);
  }

  async query(text: string, values: unknown[]): Promise<Rows> {
    if (!this.#canPrepare) return this.#pool.query(text, values);
    try {
      return await (this.#pool as unknown as PreparingPool).query({ name: this.#nameOf(text), text, values });
    } catch (error) {
      if (!NOT_PREPARED_CODES.includes(codeOf(error))) throw error;
      this.#canPrepare = false;
      return this.#pool.query(text, values);
    }
  }

  /** One name is one text, of whichever version of this package and whichever schema: others may share the connection. */
  #nameOf(text: string): string {
    const known = this.#names.get(text);
    if (known) return known;
    const name = `once_${createHash('sha256').update(text).digest('hex').slice(0, 32)}`;
    this.#names.set(text, name);
    return name;
  }
}
