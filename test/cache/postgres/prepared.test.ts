/** Prepared statements: where a connection has them, and where it has not. */

import { expect } from 'chai';
import pg from 'pg';
import { PostgresCache } from '../../../src/cache/postgres/postgres-cache.ts';
import { uniqueName } from '../../support/index.ts';
import { sharedPostgres } from '../../support/shared-servers.ts';
import { acquire, acquireStep, releaseStep, renewStep } from '../../support/steps.ts';

describe('PostgresCache, on a connection that keeps prepared statements', () => {
  let pool: pg.Pool;
  let cache: PostgresCache;
  /** Of this test alone. In a shared one each call sweeps as long as other tests have left many expired locks there. */
  let schema: string;
  beforeEach(async () => {
    pool = new pg.Pool({ connectionString: (await sharedPostgres()).url, max: 1 });
    schema = uniqueName('prepared').replaceAll('-', '_');
    cache = new PostgresCache(pool, { schema });
    // The first call of a cache sweeps, and is one for a batch.
    await acquire(cache, acquireStep());
    await acquire(cache, acquireStep());
  });
  afterEach(async () => {
    await pool.query(`DROP SCHEMA ${schema} CASCADE`);
    await pool.end();
  });

  const prepared = async (): Promise<string[]> => {
    const { rows } = await pool.query(
      `SELECT statement FROM pg_prepared_statements WHERE name LIKE 'once\\_%' ORDER BY statement`,
    );
    return rows.map(({ statement }) => /once_\w+?_\d/.exec(statement)?.[0] ?? statement).sort();
  };

  it('prepares each query once', async () => {
    for (let i = 0; i < 3; i++) {
      const step = acquireStep();
      await acquire(cache, step);
      await cache.renew([renewStep(step)]);
      await cache.release([releaseStep(step)]);
    }

    expect(await prepared()).to.deep.equal([
      'once_acquire_1',
      'once_exchange_5',
      'once_release_2',
      'once_step_3',
    ]);
  });

  it('does each step once where the statements are gone, and prepares no more (DEALLOCATE ALL)', async () => {
    const step = acquireStep();
    await acquire(cache, step);
    await pool.query('DEALLOCATE ALL');

    const renewed = await cache.renew([renewStep(step)]);
    const released = await cache.release([releaseStep(step)]);
    const acquired = await acquire(cache, acquireStep({ storedKey: step.storedKey }));

    expect([renewed, released, acquired.acquired]).to.deep.equal([[true], [true], true]);
    expect(await prepared()).to.deep.equal([]);
  });

  it('does each step once where another client has prepared a statement of that name', async () => {
    const { rows } = await pool.query("SELECT name FROM pg_prepared_statements WHERE name LIKE 'once\\_%'");
    const another = new pg.Pool({ connectionString: (await sharedPostgres()).url, max: 1 });
    expect(rows).to.have.length(2);
    for (const { name } of rows) await another.query(`PREPARE ${name} AS SELECT 1`);
    const first = new PostgresCache(another, { schema });
    const step = acquireStep();

    const acquired = await acquire(first, step);
    const refused = await acquire(first, acquireStep({ storedKey: step.storedKey }));
    const released = await first.release([releaseStep(step)]);
    await another.end();

    expect([acquired.acquired, refused.acquired, released]).to.deep.equal([true, false, [true]]);
  });
});

describe('PostgresCache, on a pool that is no pg.Pool', () => {
  it('sends queries without names', async () => {
    const pool = new pg.Pool({ connectionString: (await sharedPostgres()).url });
    const sent: unknown[] = [];
    const cache = new PostgresCache({
      query(text, values) {
        sent.push(typeof text);
        return pool.query(text, values);
      },
    });

    const { acquired } = await acquire(cache, acquireStep());
    await acquire(cache, acquireStep());
    await pool.end();

    expect(acquired).to.equal(true);
    expect(new Set(sent)).to.deep.equal(new Set(['string']));
  });
});
