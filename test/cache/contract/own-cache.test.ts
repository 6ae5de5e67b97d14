/** The cache that docs/caches.md shows keeps what it claims. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import sqlite from 'node-sqlite3-wasm';
import { SqliteCache } from '../../../examples/own-cache/sqlite-cache.ts';
import { testLockCache } from '../../../src/conformance.ts';
import { readDoc } from '../../support/index.ts';

testLockCache({
  name: 'SqliteCache',
  create() {
    const folder = mkdtempSync(join(tmpdir(), 'bullmq-once-own-cache-'));
    const databases = [1, 2].map(() => new sqlite.Database(join(folder, 'locks.db')));
    const [cache, other] = databases.map(db => new SqliteCache(db)) as [SqliteCache, SqliteCache];
    return {
      cache,
      other,
      close() {
        for (const db of databases) db.close();
        rmSync(folder, { recursive: true });
      },
    };
  },
  guarantees: {
    ...{ foreignValues: false, outages: false, lines: false, results: false },
    ...{ matching: false, listing: false, forcedRelease: false },
  },
});

describe('docs/caches.md', () => {
  it('shows this cache', async () => {
    const source = await readDoc('examples/own-cache/sqlite-cache.ts');
    expect(await readDoc('docs/caches.md')).to.include(source.slice(source.indexOf('export class')));
  });
});
