/** A cache of one's own: locks in a file of SQLite. Two locks on one file exclude each other, as two processes do. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Lock, LockError } from 'bullmq-once';
import sqlite from 'node-sqlite3-wasm';
import { SqliteCache } from './own-cache/sqlite-cache.ts';

const folder = mkdtempSync(join(tmpdir(), 'own-cache-'));
const databases = [1, 2].map(() => new sqlite.Database(join(folder, 'locks.db')));
const [mine, other] = databases.map(db => new Lock('import', { cache: new SqliteCache(db) }));

await mine?.run(async ({ fence }) => {
  console.log(`import under fence ${fence}`);
  await other
    ?.run(() => {})
    .catch(error => console.log(error instanceof LockError && 'refused while it runs'));
});
await other?.run(({ fence }) => console.log(`import under fence ${fence}`));

for (const db of databases) db.close();
rmSync(folder, { recursive: true });
