/** What waits for the disk, so that a failure of the server does not undo it; and what a release that did not wait comes to. */

import { expect } from 'chai';
import pg from 'pg';
import type { AcquireStep } from '../../../src/cache/contract.ts';
import { PostgresCache } from '../../../src/cache/postgres/postgres-cache.ts';
import { until } from '../../support/index.ts';
import { PostgresServer } from '../../support/postgres-server.ts';
import { acquire, acquireStep, releaseStep, renewStep } from '../../support/steps.ts';

describe('PostgresCache, on a server that fails', () => {
  let server: PostgresServer;
  let pool: pg.Pool;
  let cache: PostgresCache;
  beforeEach(async () => {
    // The server writes down late what nobody waits for, so that its failure comes before that.
    server = await PostgresServer.start(['fsync=off', 'wal_writer_delay=10s', 'autovacuum=off']);
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
        await cache.release(steps.map(step => releaseStep(step)));
        const { rows } = await pool.query(
          'SELECT pg_current_wal_insert_lsn() > pg_current_wal_flush_lsn() AS unwritten',
        );
        return rows[0].unwritten;
      });
      await failAndRecover();

      for (const { storedKey, owner, ...step } of steps) {
        expect(await recordOf({ storedKey, owner, ...step })).to.include({ state: 'running', owner });
        const again = await acquire(cache, acquireStep({ storedKey, owner, attempt: 2 }));
        expect(again).to.include({ acquired: true, reclaimed: true });
      }
    });
  }

  it('has released for good once any other transaction has waited', async () => {
    const step = acquireStep();
    await acquire(cache, step);

    await cache.release([releaseStep(step)]);
    await acquire(cache, acquireStep());
    await failAndRecover();

    expect(await recordOf(step)).to.equal(undefined);
  });
});
