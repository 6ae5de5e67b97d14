/** What waits for the disk, so that a failure of the server does not undo it; and what a release that did not wait comes to. */

import { expect } from 'chai';
import pg from 'pg';
import type { AcquireStep } from '../../../src/cache/contract.ts';
import type { PostgresPool } from '../../../src/cache/postgres/pool.ts';
import { PostgresCache } from '../../../src/cache/postgres/postgres-cache.ts';
import { until } from '../../support/index.ts';
import { PostgresServer } from '../../support/postgres-server.ts';
import { sharedPglite } from '../../support/shared-servers.ts';
import { acquire, acquireStep, releaseStep, renewStep } from '../../support/steps.ts';

describe('PostgresCache, on a server that fails', () => {
  let server: PostgresServer;
  let pool: pg.Pool;
  let cache: PostgresCache;
  beforeEach(async () => {
    // Nothing writes down what nobody waits for, so that the failure comes before that.
    server = await PostgresServer.start(['fsync=off', 'bgwriter_lru_maxpages=0', 'autovacuum=off']);
    await server.stopWalWriter();
    connect();
    // The first call of a cache sweeps, and is one for a batch.
    await acquire(cache, acquireStep());
  });
  afterEach(async () => {
    await pool.end();
    await server.stop();
  });

  function connect(): void {
    pool = new pg.Pool({ connectionString: server.url });
    pool.on('error', () => {});
    cache = new PostgresCache(pool);
  }

  async function failAndRecover(): Promise<void> {
    await server.kill();
    await pool.end();
    await server.restart();
    connect();
  }

  /** Until where the log is on the disk. What is behind that may be a tidied page, too, so only this says who waited. */
  async function written(): Promise<string> {
    const { rows } = await pool.query('SELECT pg_current_wal_flush_lsn() AS lsn');
    return rows[0].lsn;
  }

  const recordOf = async ({ storedKey }: AcquireStep) => (await cache.inspect([storedKey]))[0];

  /** What is done last before the failure, to a lock that is held. */
  const lasting: Record<string, (step: AcquireStep) => Promise<unknown>> = {
    'an acquisition': async step => {
      await cache.release([releaseStep(step)]);
      await acquire(cache, step);
    },
    'acquisitions of one batch': async step => {
      await cache.release([releaseStep(step)]);
      await cache.acquire([step, acquireStep()]);
    },
    'an acquisition beside a release': async step => {
      const other = acquireStep();
      await cache.release([releaseStep(step)]);
      await acquire(cache, other);
      await cache.exchange({ releases: [releaseStep(other)], renewals: [], acquisitions: [step] });
    },
    'a release that keeps the key held as done': step => cache.release([releaseStep(step, 60_000)]),
    'such releases of one batch': async step => {
      const other = acquireStep();
      await acquire(cache, other);
      await cache.release([releaseStep(step, 60_000), releaseStep(other, 60_000)]);
    },
    'a renewal': step => cache.renew([{ ...renewStep(step), ttl: 3_600_000 }]),
    'renewals of one batch': step =>
      cache.renew([{ ...renewStep(step), ttl: 3_600_000 }, renewStep(acquireStep())]),
  };
  for (const [what, act] of Object.entries(lasting)) {
    it(`keeps ${what}`, async () => {
      const step = acquireStep();
      await acquire(cache, step);

      await act(step);
      const before = await recordOf(step);
      await failAndRecover();
      const after = await recordOf(step);

      expect(after).to.include({ state: before?.state, owner: before?.owner, fence: before?.fence });
      expect(after?.expiresIn).to.be.closeTo(before?.expiresIn as number, 60_000);
    });
  }

  for (const count of [1, 2]) {
    it(`may hold a lock again whose release was the last thing, until its lease ends (of ${count})`, async () => {
      let steps: AcquireStep[] = [];
      // The first few executions of a prepared statement are planned anew, and wait.
      await until(async () => {
        steps = Array.from({ length: count }, () => acquireStep({ attempt: 1 }));
        await cache.acquire(steps);
        const before = await written();
        await cache.release(steps.map(step => releaseStep(step)));
        return (await written()) === before;
      });
      await failAndRecover();

      for (const { storedKey, owner, ...step } of steps) {
        expect(await recordOf({ storedKey, owner, ...step })).to.include({ state: 'running', owner });
        const again = await acquire(cache, acquireStep({ storedKey, owner, attempt: 2 }));
        expect(again).to.include({ acquired: true, reclaimed: true });
      }
    });
  }

  const users: Record<
    string,
    (connectionString: string) => Promise<PostgresPool & { end(): Promise<void> }>
  > = {
    'a client': async connectionString => {
      const client = new pg.Client({ connectionString });
      await client.connect();
      return client;
    },
    'a pool of one connection': async connectionString => new pg.Pool({ connectionString, max: 1 }),
  };
  for (const [what, connect] of Object.entries(users)) {
    it(`leaves a transaction of the user's on ${what} as it is`, async () => {
      const pool = await connect(server.url);
      const own = new PostgresCache(pool);
      const settings = new Set<string>();
      for (let i = 0; i < 50; i++) {
        const steps = [acquireStep(), acquireStep(), acquireStep()] as const;
        await own.acquire(steps);
        await pool.query('BEGIN');
        await own.release([releaseStep(steps[0])]);
        await own.release(steps.slice(1).map(step => releaseStep(step)));
        const { rows } = await pool.query('SHOW synchronous_commit');
        await pool.query('COMMIT');
        settings.add(rows[0].synchronous_commit);
      }
      await pool.end();

      expect([...settings]).to.deep.equal(['on']);
    });
  }

  it('leaves a transaction as it is that calls its functions', async () => {
    const step = acquireStep();
    await acquire(cache, step);
    const { storedKey, token } = step;

    const results = (await pool.query(
      `BEGIN; SELECT bullmq.once_release_2('${storedKey}', '${token}', false); SHOW synchronous_commit; COMMIT`,
    )) as unknown as pg.QueryResult[];

    expect(results[1]?.rows).to.deep.equal([{ once_release_2: 'true' }]);
    expect(results[2]?.rows).to.deep.equal([{ synchronous_commit: 'on' }]);
  });

  it('releases where nobody may call set_config', async () => {
    const step = acquireStep();
    await acquire(cache, step);
    await pool.query(`CREATE ROLE worker LOGIN; GRANT USAGE ON SCHEMA bullmq TO worker;
      GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA bullmq TO worker;
      REVOKE EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean) FROM PUBLIC`);
    const url = new URL(server.url);
    url.username = 'worker';
    const limited = new pg.Pool({ connectionString: url.href });
    const own = new PostgresCache(limited);
    const released: unknown[] = [];
    for (let i = 0; i < 50; i++) {
      const one = acquireStep();
      await acquire(own, one);
      released.push(...(await own.release([releaseStep(one)])));
    }
    await limited.end();

    expect(released).to.deep.equal(Array(50).fill(true));
  });

  it('has released for good once any other transaction has waited', async () => {
    const step = acquireStep();
    await acquire(cache, step);

    await cache.release([releaseStep(step)]);
    await acquire(cache, acquireStep());
    await failAndRecover();

    expect(await recordOf(step)).to.equal(undefined);
  });
});

describe('PostgresCache on PGlite, which writes nothing down by itself', () => {
  it('has written each release down', async () => {
    const pool = new pg.Pool({ connectionString: (await sharedPglite()).url, max: 1 });
    const cache = new PostgresCache(pool);
    const unwritten: boolean[] = [];
    for (let i = 0; i < 30; i++) {
      const step = acquireStep();
      await acquire(cache, step);
      await cache.release([releaseStep(step)]);
      const { rows } = await pool.query(
        'SELECT pg_current_wal_insert_lsn() > pg_current_wal_flush_lsn() AS unwritten',
      );
      unwritten.push(rows[0].unwritten);
    }
    await pool.end();

    // The server may have tidied up a page, which nobody waits for.
    expect(unwritten.filter(Boolean).length).to.be.at.most(5);
  });
});
