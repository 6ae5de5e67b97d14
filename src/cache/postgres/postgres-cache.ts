/**
 * Keeps locks in PostgreSQL: one row a holder, one statement a batch, the database's clock. Keeps all guarantees on one server;
 * a fail-over to a replica that lags behind loses the locks that it had not received.
 */

import { setTimeout as delay } from 'node:timers/promises';
import { asError } from '../../core/errors.ts';
import { show, showClass } from '../../core/validation.ts';
import { isLockName } from '../../key/stored-name.ts';
import { Coalescer } from '../batching/coalescer.ts';
import { ExchangeCache } from '../batching/exchange.ts';
import {
  allFailed,
  exchangeInParts,
  fits,
  keysOf,
  type Limits,
  readEach,
  reassemble,
  split,
} from '../batching/split.ts';
import { StepCoalescer } from '../batching/step-coalescer.ts';
import type {
  Batch,
  BatchResults,
  EnterResult,
  EnterStep,
  ForceReleaseStep,
  JournalPage,
  JournalRecord,
  LeaveResult,
  LeaveStep,
  LineQuery,
  LineRecord,
  Listener,
  LockRecord,
} from '../contract.ts';
import type { Subscriber } from '../notify/subscriber.ts';
import {
  CREATED_MEANWHILE_CODES,
  codeOf,
  lockedKeyOf,
  NOT_ALLOWED_CODE,
  NOT_MIGRATED_CODES,
  RETRYABLE_CODES,
  refusedBy,
} from './error-codes.ts';
import { readJournalRow, readJournalSql, writeJournalPage, writeJournalSql } from './journal.ts';
import {
  enterStep,
  type LineStep,
  leaveStep,
  readEntered,
  readLeft,
  readLine,
  readLineAnswer,
  readLineAnswers,
  strikeOutStep,
  writeLineQueries,
} from './line-protocol.ts';
import { MAX_SWEPT, migrationSql } from './migration.ts';
import { DEFAULT_SCHEMA } from './names.ts';
import { isPool, type PostgresPool } from './pool.ts';
import { PreparedQueries } from './prepared.ts';
import {
  escapeNul,
  notifiedAs,
  readAnswer,
  readAnswers,
  readList,
  readPage,
  readRecords,
  readResults,
  rowKey,
  rowPrefix,
  type WrittenStep,
  writeSteps,
} from './protocol.ts';
import {
  acquireCallSql,
  exchangeSql,
  forceReleaseSql,
  inspectSql,
  lineStepSql,
  lineStepsSql,
  linesSql,
  listSql,
  lockedSql,
  PAGE_SIZE,
  releaseCallSql,
  resultsSql,
  stepCallSql,
} from './queries.ts';
import { postgresSubscriber } from './subscriber.ts';

/** Options of {@link PostgresCache}. */
export interface PostgresCacheOptions {
  /**
   * The schema of the tables, whose names begin with `once_`. Locks in two schemas do not exclude each other.
   * @defaultValue `'bullmq'`, as of BullMQ's own backend
   */
  readonly schema?: string;
}

/** A batch keeps its rows locked until all of it is done. */
const LIMITS: Limits = { maxSteps: 500 };
/** A step on a line takes several times as long as one of a lock alone. */
const LINE_LIMITS: Limits = { maxSteps: 100 };
/**
 * How many calls are under way at a time; what comes meanwhile leaves as one. A call costs a transaction and one of the pool's
 * connections, which the queue needs too. Measured: a worker of 50 makes a twelfth of the calls that it made without, and
 * its throughput is half as high again. One call at a time, three, four and eight are no better at 10 and at 50.
 */
const MAX_CALLS = 2;
/** Expired locks are swept this often, and only while there is work. */
const SWEEP_INTERVAL_MS = 60_000;
const MAX_TRIES = 50;
/** The longest pause before the next try. */
const MAX_PAUSE_MS = 20;

/**
 * A cache on a pool of yours, which stays yours to configure and to close.
 *
 * Its tables and functions are created when they are first needed, by a role that may create them; see {@link migration}
 * where yours may not. A queue of BullMQ 6 on PostgreSQL needs none of this: its locks are kept by its own pool in its own
 * schema.
 *
 * @example
 * ```ts
 * const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL });
 * caches.default = new PostgresCache(pool);
 * ```
 */
export class PostgresCache extends ExchangeCache {
  readonly datastore: string | undefined;
  readonly overtakes = true;
  /** @internal */
  readonly pool: PostgresPool;
  /** @internal */
  readonly schema: string;
  readonly #exchangeSql: string;
  readonly #acquireSql: string;
  readonly #releaseSql: string;
  readonly #stepSql: string;
  readonly #inspectSql: string;
  readonly #lineStepSql: Readonly<Record<LineStep[0], string>>;
  readonly #lineStepsSql: string;
  readonly #linesSql: string;
  readonly #isPool: boolean;
  readonly #prepared: PreparedQueries;
  readonly #subscriber: Subscriber;
  readonly #coalescer = new Coalescer(batch => this.#exchange(batch), MAX_CALLS);
  readonly #lineCoalescer = new StepCoalescer<LineStep, unknown>(steps => this.#takeLineSteps(steps), {
    maxCalls: MAX_CALLS,
    ...LINE_LIMITS,
  });
  #migrating: Promise<unknown> | undefined;
  #sweepAt = 0;

  /** @throws TypeError it is no pool, or the schema is no plain name. */
  constructor(pool: PostgresPool, options: PostgresCacheOptions = {}) {
    super();
    const { schema = DEFAULT_SCHEMA } = options;
    if (typeof (pool as Partial<PostgresPool> | null)?.query !== 'function') {
      throw new TypeError(
        `PostgresCache needs a pg.Pool, which has a method 'query'; it got ${showClass(pool)}`,
      );
    }
    checkSchema(schema);
    this.datastore = datastoreOf(pool, schema);
    this.pool = pool;
    this.schema = schema;
    this.#exchangeSql = exchangeSql(schema);
    this.#isPool = isPool(pool);
    this.#prepared = new PreparedQueries(pool);
    this.#acquireSql = acquireCallSql(schema);
    this.#releaseSql = releaseCallSql(schema);
    this.#stepSql = stepCallSql(schema);
    this.#inspectSql = inspectSql(schema);
    this.#lineStepSql = {
      enter: lineStepSql(schema, 'enter'),
      leave: lineStepSql(schema, 'leave'),
      strikeOut: lineStepSql(schema, 'strikeOut'),
    };
    this.#lineStepsSql = lineStepsSql(schema);
    this.#linesSql = linesSql(schema);
    this.#subscriber = postgresSubscriber(pool);
  }

  exchange(batch: Batch): Promise<BatchResults> {
    return this.#coalescer.exchange(batch);
  }

  async inspect(storedKeys: readonly string[]): Promise<(LockRecord | undefined)[]> {
    if (storedKeys.length === 0) return [];
    const { rows } = await this.#query(this.#inspectSql, [storedKeys.map(rowKey)]);
    return readRecords(rows, storedKeys);
  }

  async forceRelease(steps: readonly ForceReleaseStep[]): Promise<boolean[]> {
    const keys = steps.map(({ storedKey }) => rowKey(storedKey));
    const fences = steps.map(({ fence }) => fence ?? null);
    const { rows } = await this.#query(forceReleaseSql(this.schema), [keys, fences]);
    return readList(rows[0]?.answers, steps.length) as boolean[];
  }

  async *list(prefix: string, signal?: AbortSignal): AsyncIterable<LockRecord> {
    for (let after: [key: string, place: number] = ['', 0]; !signal?.aborted; ) {
      const { rows } = await this.#query(listSql(this.schema), [rowPrefix(prefix), ...after]);
      const page = readPage(rows);
      for (const { record } of page) if (isLockName(record.storedKey)) yield record;
      const last = page.at(-1);
      if (!last || page.length < PAGE_SIZE) return;
      after = [last.rowKey, last.place];
    }
  }

  /** Uses one more connection, outside of the pool, which is open as long as anyone waits. */
  listen(storedKey: string, onRelease: () => void): Listener {
    return this.#subscriber.listen(notifiedAs(storedKey), onRelease);
  }

  async enter(steps: readonly EnterStep[]): Promise<(EnterResult | Error)[]> {
    const answers = await this.#lineCoalescer.take(steps.map(enterStep));
    return readEach(answers, (answer, i) => readEntered(answer, steps[i] as EnterStep));
  }

  async leave(steps: readonly LeaveStep[]): Promise<(LeaveResult | Error)[]> {
    const answers = await this.#lineCoalescer.take(steps.map(leaveStep));
    return readEach(answers, readLeft);
  }

  async lines(queries: readonly LineQuery[]): Promise<LineRecord[]> {
    if (queries.length === 0) return [];
    const { rows } = await this.#query(this.#linesSql, writeLineQueries(queries));
    return rows.map(readLine);
  }

  async results(storedKeys: readonly string[]): Promise<(string | undefined)[]> {
    if (storedKeys.length === 0) return [];
    const { rows } = await this.#query(resultsSql(this.schema), [storedKeys.map(rowKey)]);
    return readResults(rows, storedKeys);
  }

  async strikeOut(queries: readonly LineQuery[]): Promise<(boolean | Error)[]> {
    return (await this.#lineCoalescer.take(queries.map(strikeOutStep))) as (boolean | Error)[];
  }

  async writeJournal(pages: readonly JournalPage[]): Promise<void> {
    const sql = writeJournalSql(this.schema);
    for (const page of pages) await this.#query(sql, writeJournalPage(page, Date.now()));
  }

  async readJournal(queue: string): Promise<JournalRecord> {
    const { rows } = await this.#query(readJournalSql(this.schema), [escapeNul(queue)]);
    return readJournalRow(rows[0], Date.now());
  }

  async #exchange(batch: Batch): Promise<BatchResults> {
    if (fits(batch, LIMITS)) return this.#send(batch);
    // One after another: each takes a connection of the pool.
    return exchangeInParts(batch, LIMITS, async parts => {
      const results: BatchResults[] = [];
      for (const part of parts) results.push(await this.#send(part));
      return results;
    });
  }

  async #send(batch: Batch): Promise<BatchResults> {
    const sweep = this.#isSweepDue();
    const steps = writeSteps(batch);
    try {
      if (steps.length === 1 && !sweep)
        return readAnswer(await this.#sendStep(steps[0] as WrittenStep), batch);
      const { rows } = await this.#query(this.#exchangeSql, [JSON.stringify(steps), sweep, this.#isPool]);
      const { results, swept } = readAnswers(rows[0]?.answers, batch);
      if (swept === MAX_SWEPT) this.#sweepAt = 0;
      return results;
    } catch (error) {
      const problem = refusedBy(asError(error));
      const lockedKey = lockedKeyOf(error);
      return lockedKey === undefined || steps.length === 1
        ? allFailed(batch, problem)
        : this.#sendWithoutLocked(lockedKey, batch, problem);
    }
  }

  /** @returns its answer, as `readAnswer` reads it. */
  async #sendStep(step: WrittenStep): Promise<unknown> {
    const [verb, key, token, ms, owner, attempt, more = null] = step;
    const values = [verb, key, token, ms, owner, attempt, more];
    const { rows } =
      verb === 'release' && ms === 0
        ? await this.#query(this.#releaseSql, [key, token, this.#isPool])
        : await this.#query(verb.startsWith('acquire') ? this.#acquireSql : this.#stepSql, values);
    return rows[0]?.answer;
  }

  /** The steps on rows that someone else has locked fail alone, and may be sent again; the others are sent at once. */
  async #sendWithoutLocked(lockedKey: string, batch: Batch, error: Error): Promise<BatchResults> {
    const locked = await this.#lockedAmong(keysOf(batch).map(rowKey), lockedKey);
    const isLocked = (storedKey: string) => locked.has(rowKey(storedKey));
    const limits = { ...LIMITS, groupOf: (storedKey: string) => String(isLocked(storedKey)) };
    return exchangeInParts(batch, limits, parts =>
      Promise.all(
        parts.map(part => (keysOf(part).some(isLocked) ? allFailed(part, error) : this.#send(part))),
      ),
    );
  }

  /** Takes steps on keys and their lines: the first that one call can carry at once, others one call after another. */
  async #takeLineSteps(steps: readonly LineStep[]): Promise<unknown[]> {
    const parts = split(steps, keyOfStep, LINE_LIMITS);
    const answers: unknown[][] = [];
    for (const { items } of parts) answers.push(await this.#sendLineSteps(items));
    return reassemble(parts, answers);
  }

  /** One call for some steps. If it fails, each of its steps has failed. */
  async #sendLineSteps(steps: readonly LineStep[]): Promise<unknown[]> {
    const sweep = this.#isSweepDue();
    const [only, ...more] = steps;
    try {
      if (only && more.length === 0 && !sweep) {
        const { rows } = await this.#query(this.#lineStepSql[only[0]], [JSON.stringify(only)]);
        return [readLineAnswer(rows[0]?.answer)];
      }
      const { rows } = await this.#query(this.#lineStepsSql, [JSON.stringify(steps), sweep]);
      const { answers, swept } = readLineAnswers(rows[0]?.answers, steps.length);
      if (swept === MAX_SWEPT) this.#sweepAt = 0;
      return answers;
    } catch (error) {
      const problem = refusedBy(asError(error));
      const lockedKey = lockedKeyOf(error);
      return lockedKey === undefined || steps.length === 1
        ? steps.map(() => problem)
        : this.#sendLineStepsWithoutLocked(lockedKey, steps, problem);
    }
  }

  /** As {@link PostgresCache.#sendWithoutLocked}. */
  async #sendLineStepsWithoutLocked(
    lockedKey: string,
    steps: readonly LineStep[],
    error: Error,
  ): Promise<unknown[]> {
    const locked = await this.#lockedAmong(steps.map(keyOfStep), lockedKey);
    const parts = split(steps, keyOfStep, { ...LINE_LIMITS, groupOf: key => String(locked.has(key)) });
    const answers = await Promise.all(
      parts.map(({ items }) =>
        items.some(step => locked.has(keyOfStep(step))) ? items.map(() => error) : this.#sendLineSteps(items),
      ),
    );
    return reassemble(parts, answers);
  }

  /** Those of some keys, as they stand in the table, whose rows another transaction has locked. One is known. */
  async #lockedAmong(keys: readonly string[], lockedKey: string): Promise<ReadonlySet<string>> {
    const locked = new Set([lockedKey]);
    try {
      const { rows } = await this.#query(lockedSql(this.schema), [keys]);
      for (const { key } of rows) locked.add(key);
    } catch {
      // Then they are found one by one.
    }
    return locked;
  }

  /** Whether the next call is to sweep. */
  #isSweepDue(): boolean {
    const now = performance.now();
    if (now < this.#sweepAt) return false;
    this.#sweepAt = now + SWEEP_INTERVAL_MS;
    return true;
  }

  /** Queries the database; creates what it needs where that is not there yet. */
  async #query(sql: string, values: unknown[]): Promise<{ rows: any[] }> {
    try {
      return await this.#queryWithRetries(sql, values);
    } catch (error) {
      if (codeOf(error) === NOT_ALLOWED_CODE) throw this.#notAllowed(error);
      if (!NOT_MIGRATED_CODES.includes(codeOf(error))) throw error;
      await this.#migrate();
      return this.#queryWithRetries(sql, values);
    }
  }

  async #queryWithRetries(sql: string, values: unknown[]): Promise<{ rows: any[] }> {
    for (let tries = 1; ; tries++) {
      try {
        return await this.#prepared.query(sql, values);
      } catch (error) {
        if (tries === MAX_TRIES || !RETRYABLE_CODES.includes(codeOf(error))) throw error;
        await delay(Math.random() * Math.min(tries, MAX_PAUSE_MS));
      }
    }
  }

  async #migrate(): Promise<void> {
    this.#migrating ??= this.#createTables();
    try {
      await this.#migrating;
    } finally {
      this.#migrating = undefined;
    }
  }

  async #createTables(): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        await this.pool.query(migrationSql(this.schema));
        return;
      } catch (error) {
        if (codeOf(error) === NOT_ALLOWED_CODE) throw this.#notAllowed(error);
        const isRetryable = [...CREATED_MEANWHILE_CODES, ...RETRYABLE_CODES].includes(codeOf(error));
        if (tries === MAX_TRIES || !isRetryable) throw error;
        await delay(Math.random() * MAX_PAUSE_MS);
      }
    }
  }

  #notAllowed(cause: unknown): Error {
    return new Error(
      `PostgresCache: the role may not create or use the tables of the schema '${this.schema}' ` +
        `(${asError(cause).message}); run the SQL of migration({ schema: '${this.schema}' }) from 'bullmq-once/postgres' ` +
        'with a role that may, and grant this one USAGE on the schema and SELECT, INSERT, UPDATE, DELETE on once_lock, once_line, once_last_run, once_result and once_answered',
      { cause },
    );
  }
}

/**
 * The SQL that creates the tables and the functions of the locks, for those who run their migrations themselves. It may be
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

function keyOfStep([, key]: LineStep): string {
  return key;
}

function checkSchema(schema: unknown): void {
  if (typeof schema === 'string' && PLAIN_NAME.test(schema)) return;
  throw new TypeError(
    "PostgresCache: option 'schema' must be a plain name (letters, digits, underscores, at most 63), as it must for " +
      `BullMQ, not ${show(schema)}`,
  );
}

/** BullMQ takes no other either. It can't contain the mark that quotes the body of our functions. */
const PLAIN_NAME = /^(?!.*\$once\$)[A-Za-z_][A-Za-z0-9_$]{0,62}$/;

/**
 * The database of a `pg.Pool`, as a string without a password; `undefined` where it depends on the user's name or on the environment.
 */
function datastoreOf(pool: object, schema: string): string | undefined {
  const { connectionString, ...options } = (pool as { options?: Record<string, unknown> }).options ?? {};
  const { host, port, database } =
    typeof connectionString === 'string' ? addressOf(connectionString) : options;
  return host && database ? `postgres ${host}:${port || 5432}/${database} ${schema}` : undefined;
}

function addressOf(url: string): { host?: unknown; port?: unknown; database?: unknown } {
  if (!URL.canParse(url)) return {};
  const { hostname, port, pathname } = new URL(url);
  return { host: hostname, port, database: pathname.slice(1) };
}
