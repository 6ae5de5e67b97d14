/** A store for Keyv in SQLite, by a driver that needs no compiler: the one Keyv has installs a native addon. */

import sqlite from 'node-sqlite3-wasm';

export class KeyvSqlite {
  readonly opts: object = {};
  namespace: string | undefined;
  readonly #db: InstanceType<typeof sqlite.Database>;

  constructor() {
    this.#db = new sqlite.Database(':memory:');
    this.#db.exec('CREATE TABLE keyv (key BLOB PRIMARY KEY, value TEXT)');
  }

  async get(key: string): Promise<any> {
    return this.#db.get('SELECT value FROM keyv WHERE key = ?', [bytes(key)])?.value ?? undefined;
  }

  async set(key: string, value: any): Promise<boolean> {
    this.#db.run('INSERT OR REPLACE INTO keyv VALUES (?, ?)', [bytes(key), value]);
    return true;
  }

  async delete(key: string): Promise<boolean> {
    return this.#db.run('DELETE FROM keyv WHERE key = ?', [bytes(key)]).changes > 0;
  }

  async clear(): Promise<void> {
    this.#db.run('DELETE FROM keyv');
  }

  on(): this {
    return this;
  }

  close(): void {
    if (this.#db.isOpen) this.#db.close();
  }
}

/** The driver ends a text at the character NUL. */
function bytes(text: string): Uint8Array {
  return Buffer.from(text);
}
