/**
 * Keeps leases in PostgreSQL: one row a lock, one statement a batch, the database's clock. Keeps all promises against
 * one server; a fail-over to a replica that lags behind loses the locks that it had not received.
 */

import { setTimeout as delay } from 'node:timers/promises';
import { asError } from '../../core/errors.ts';
import { isLockName } from '../../key/stored-name.ts';
import type { Answers, Arrival, Batch, Holder, Newest, Watch } from '../contract.ts';
import { ExchangeCache } from '../batching/exchange.ts';
import { Gatherer } from '../batching/coalescer.ts';
import { allFailed, exchangeInParts, fits, type Limits } from '../batching/split.ts';
import {
  announceSql,
  DEFAULT_SCHEMA,
  evictSql,
  exchangeSql,
  inspectSql,
  listSql,
  MOST_LISTED,
  MOST_SWEPT,
  migrationSql,
} from './queries.ts';
import { postgresSubscriber } from './subscriber.ts';
import {
  readAnswers,
  readHolders,
  readListed,
  readNewest,
  storedKey,
  storedPrefix,
  writeArrivals,
  writeSteps,
} from './protocol.ts';
import type { Subscriber } from '../notify/subscriber.ts';

/** What is asked of a `pg.Pool`. */
export interface PostgresPool {
  query(text: string, values?: unknown[]): Promise<{ rows: any[] }>;
}

/** Options of {@link PostgresCache}. */
export interface PostgresCacheOptions {
  /**
   * The schema of the table `once_lock`. Locks in two schemas know nothing of each other.
   * @defaultValue `'bullmq'`, as of BullMQ's own backend
   */
  readonly schema?: string;
}

/** A batch holds its rows until all of it is done. */
const LIMITS: Limits = { most: 500 };
/**
 * So many calls are under way at a time; what comes meanwhile leaves as one. A call costs a transaction and one of the
 * pool's connections, which the queue needs too. Measured: a worker of 50 makes a twelfth of the calls that it made without,
 * and ends half as many jobs again.
 */
const UNDER_WAY = 2;
/** Expired locks are swept away this often, in ms, and only where there is work. */
const SWEEP_EVERY = 60_000;
/**
 * Nothing was done by a transaction that ended so (serialization failure, deadlock): it can be tried again. It does not
 * happen at PostgreSQL's own default, which is to read what is committed.
 */
const UNDONE = ['40001', '40P01'];
const MOST_TRIES = 50;
/** The longest pause before the next try, in ms. */
const LONGEST_PAUSE = 20;
/** There is no such function, table, or schema. */
const NOT_MIGRATED = ['42883', '42P01', '3F000'];
const NOT_ALLOWED = '42501';

/**
 * A cache on a pool of the user's, which stays the user's to configure and to close.
 *
 * Its table and function are made when they are first used and are not there; that takes a role that may create them,
 * see {@link migration} where yours may not. A queue of BullMQ 6 on PostgreSQL needs none of this: its locks are kept by
 * its own pool in its own schema.
 *
 * @example
 * ```ts
 * const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL });
 * caches.default = new PostgresCache(pool);
 * ```
 */
export class PostgresCache extends ExchangeCache {
  readonly #pool: PostgresPool;
  readonly #schema: string;
  readonly #exchangeSql: string;
  readonly #inspectSql: string;
  readonly #announceSql: string;
  readonly #subscriber: Subscriber;
  readonly #gatherer = new Gatherer(batch => this.#exchange(batch), UNDER_WAY);
  #migrating: Promise<unknown> | undefined;
  #sweepAt = 0;

  /** @throws TypeError it is no pool, or the schema is no plain name. */
  constructor(pool: PostgresPool, options: PostgresCacheOptions = {}) {
    super();
    const { schema = DEFAULT_SCHEMA } = options;
    if (typeof (pool as Partial<PostgresPool> | null)?.query !== 'function') {
      throw new TypeError(
        `PostgresCache needs a pg.Pool, which has a method 'query'; it got ${describe(pool)}`,
      );
    }
    checkSchema(schema);
    this.#pool = pool;
    this.#schema = schema;
    this.#exchangeSql = exchangeSql(schema);
    this.#inspectSql = inspectSql(schema);
    this.#announceSql = announceSql(schema);
    this.#subscriber = postgresSubscriber(pool);
  }

  async inspect(keys: readonly string[]): Promise<(Holder | undefined)[]> {
    if (keys.length === 0) return [];
    const { rows } = await this.#ask(this.#inspectSql, [keys.map(storedKey)]);
    return readHolders(rows, keys);
  }

  async announce(arrivals: readonly Arrival[]): Promise<Newest[]> {
    const { rows } = await this.#ask(this.#announceSql, [writeArrivals(arrivals)]);
    return readNewest(rows[0]?.newest, arrivals.length);
  }

  async *list(prefix: string): AsyncIterable<Holder> {
    for (let after = ''; ; ) {
      const { rows } = await this.#ask(listSql(this.#schema), [storedPrefix(prefix), after]);
      const found = readListed(rows);
      for (const { holder } of found) if (isLockName(holder.key)) yield holder;
      if (found.length < MOST_LISTED) return;
      after = found.at(-1)?.stored as string;
    }
  }

  async evict(keys: readonly string[]): Promise<boolean[]> {
    const { rows } = await this.#ask(evictSql(this.#schema), [keys.map(storedKey)]);
    const gone = new Set(rows.map(({ key }) => key as string));
    return keys.map(key => gone.has(storedKey(key)));
  }

  /** Listens on one connection more, outside of the pool, which is there as long as anyone waits. */
  watch(key: string, tell: () => void): Watch {
    return this.#subscriber.watch(storedKey(key), tell);
  }

  exchange(batch: Batch): Promise<Answers> {
    return this.#gatherer.exchange(batch);
  }

  async #exchange(batch: Batch): Promise<Answers> {
    if (fits(batch, LIMITS)) return this.#send(batch);
    // One after the other: each takes another connection of the pool.
    return exchangeInParts(batch, LIMITS, async parts => {
      const answers: Answers[] = [];
      for (const part of parts) answers.push(await this.#send(part));
      return answers;
    });
  }

  async #send(batch: Batch): Promise<Answers> {
    const now = performance.now();
    const sweep = now >= this.#sweepAt;
    if (sweep) this.#sweepAt = now + SWEEP_EVERY;
    try {
      const { rows } = await this.#ask(this.#exchangeSql, [writeSteps(batch), sweep]);
      const { answers, swept } = readAnswers(rows[0]?.answers, batch);
      if (swept === MOST_SWEPT) this.#sweepAt = now;
      return answers;
    } catch (error) {
      return allFailed(batch, asError(error));
    }
  }

  /** Asks the database; makes what it asks for where that is not there yet. */
  async #ask(sql: string, values: unknown[]): Promise<{ rows: any[] }> {
    try {
      return await this.#retrying(sql, values);
    } catch (error) {
      if (codeOf(error) === NOT_ALLOWED) throw this.#notAllowed(error);
      if (!NOT_MIGRATED.includes(codeOf(error))) throw error;
      await this.#migrate();
      return this.#retrying(sql, values);
    }
  }

  async #retrying(sql: string, values: unknown[]): Promise<{ rows: any[] }> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.#pool.query(sql, values);
      } catch (error) {
        if (tries === MOST_TRIES || !UNDONE.includes(codeOf(error))) throw error;
        await delay(Math.random() * Math.min(tries, LONGEST_PAUSE));
      }
    }
  }

  async #migrate(): Promise<void> {
    this.#migrating ??= this.#pool.query(migrationSql(this.#schema));
    try {
      await this.#migrating;
    } catch (error) {
      throw codeOf(error) === NOT_ALLOWED ? this.#notAllowed(error) : error;
    } finally {
      this.#migrating = undefined;
    }
  }

  #notAllowed(cause: unknown): Error {
    return new Error(
      `PostgresCache: the role may not make or use the table once_lock of the schema '${this.#schema}' ` +
        `(${asError(cause).message}); run the SQL of migration({ schema: '${this.#schema}' }) from 'bullmq-once/postgres' ` +
        'with a role that may, and grant this one USAGE on the schema and SELECT, INSERT, UPDATE, DELETE on the table',
      { cause },
    );
  }
}

/**
 * The SQL that makes the table and the function of the locks, for those who run their migrations themselves. It can be
 * run again, and by several at once; sent as one query it is one transaction.
 * @throws TypeError the schema is no plain name.
 * @example
 * ```ts
 * await pool.query(migration({ schema: 'bullmq' }));
 * ```
 */
export function migration({ schema = DEFAULT_SCHEMA }: PostgresCacheOptions = {}): string {
  checkSchema(schema);
  return migrationSql(schema);
}

function checkSchema(schema: unknown): void {
  if (typeof schema === 'string' && PLAIN_NAME.test(schema)) return;
  throw new TypeError(
    "PostgresCache: option 'schema' must be a plain name (letters, digits, underscores, at most 63), as it must for " +
      `BullMQ, not ${describe(schema)}`,
  );
}

/** BullMQ takes no other either. The mark that quotes the body of our function can't be part of it. */
const PLAIN_NAME = /^(?!.*\$once\$)[A-Za-z_][A-Za-z0-9_$]{0,62}$/;

/** PostgreSQL's name for what went wrong. */
function codeOf(error: unknown): string {
  return String((error as { code?: unknown } | undefined)?.code);
}

function describe(value: unknown): string {
  if (typeof value === 'string') return `'${value}'`;
  if (typeof value !== 'object' || value === null) return String(value);
  return `an object of class ${value.constructor?.name ?? '(none)'}`;
}
