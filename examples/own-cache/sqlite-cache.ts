/** A cache of one's own: locks in a file of SQLite, for the processes of one machine. */

import type { AcquireResult, AcquireStep, LockCache, LockRecord, ReleaseStep, RenewStep } from 'bullmq-once';
import type { Database } from 'node-sqlite3-wasm';

/** AUTOINCREMENT never gives a number twice: it is the fence. Keys and owners may have any characters: they are kept as JSON. */
const TABLE = `CREATE TABLE IF NOT EXISTS once_lock (fence INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT UNIQUE, token TEXT,
  owner TEXT, attempt INTEGER, ttl INTEGER, state TEXT, since INTEGER, expires INTEGER, due INTEGER)`;
const READ =
  'SELECT *, expires - ?1 AS expiresIn, due - ?1 AS dueIn FROM once_lock WHERE key = ?2 AND expires > ?1';
const GRANT = `INSERT OR REPLACE INTO once_lock (key, token, owner, attempt, ttl, state, since, expires)
  VALUES (?, ?, ?, ?, ?, 'running', ?, ?) RETURNING fence`;
const CHANGE = `UPDATE once_lock SET state = ?3, expires = ?1 + ?4, due = ?1 + ?5
  WHERE key = ?2 AND token = ?6 AND state = 'running' AND expires > ?1`;

const json = JSON.stringify;
type Held = LockRecord & { readonly token: string };

export class SqliteCache implements LockCache {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
    db.exec(TABLE);
  }

  async acquire(steps: readonly AcquireStep[]): Promise<AcquireResult[]> {
    return this.#each(steps, ({ storedKey, token, owner, attempt, ttl }) => {
      const held = this.#read(storedKey);
      const isRunning = held?.state === 'running';
      // The same step, sent again because its answer got lost.
      if (isRunning && held.token === token) return { acquired: true, fence: held.fence, reclaimed: false };
      // A newer run of the same owner gets its own lease or reservation. Where runs are not counted, any run does.
      const isNewer = held && (held.attempt < attempt || (held.attempt === 0 && attempt === 0));
      const isItsOwn = isNewer && held.owner === owner && held.state !== 'done';
      if (held && !isItsOwn) return { acquired: false, record: held };
      const now = Date.now();
      const row = this.#db.get(GRANT, [json(storedKey), token, json(owner), attempt, ttl, now, now + ttl]);
      return { acquired: true, fence: row?.fence as number, reclaimed: isRunning };
    });
  }

  async renew(steps: readonly RenewStep[]): Promise<boolean[]> {
    return this.#each(steps, ({ storedKey, token, ttl }) => this.#change(storedKey, token, 'running', ttl));
  }

  async release(steps: readonly ReleaseStep[]): Promise<boolean[]> {
    return this.#each(steps, ({ storedKey, token, dedupeFor, reservation }) => {
      if (!reservation) return this.#change(storedKey, token, 'done', dedupeFor);
      return this.#change(storedKey, token, 'reserved', reservation.lastsFor, reservation.dueIn);
    });
  }

  async inspect(storedKeys: readonly string[]): Promise<(LockRecord | undefined)[]> {
    return storedKeys.map(storedKey => this.#read(storedKey));
  }

  #read(storedKey: string): Held | undefined {
    const row = this.#db.get(READ, [Date.now(), json(storedKey)]);
    if (!row) return undefined;
    return {
      ...row,
      storedKey,
      owner: JSON.parse(row.owner as string),
      dueIn: row.dueIn ?? undefined,
    } as never;
  }

  /** Acts only where the token is stored. A key that is kept for 0 ms is free. */
  #change(
    storedKey: string,
    token: string,
    state: string,
    lasts: number,
    dueIn: number | null = null,
  ): boolean {
    const values = [Date.now(), json(storedKey), state, lasts, dueIn, token];
    return this.#db.run(CHANGE, values).changes === 1;
  }

  /** All steps of a batch in one transaction. No other process writes meanwhile. */
  #each<Step, Answer>(steps: readonly Step[], act: (step: Step) => Answer): Answer[] {
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      return steps.map(act);
    } finally {
      this.#db.exec('COMMIT');
    }
  }
}
