/** A row of the table that someone else has locked: an operator in psql, a transaction that was left open. */

import { expect } from 'chai';
import pg from 'pg';
import { PostgresCache } from '../../../src/cache/postgres/postgres-cache.ts';
import { refusalOf } from '../../../src/cache/refusals.ts';
import { Lock } from '../../../src/lock/lock.ts';
import { until } from '../../support/index.ts';
import { sharedPostgres } from '../../support/shared-servers.ts';
import { acquire, acquireStep, releaseStep, renewStep } from '../../support/steps.ts';

describe('PostgresCache, while another transaction has locked the row of one key', () => {
  let pool: pg.Pool;
  let other: pg.Client;
  let cache: PostgresCache;
  beforeEach(async () => {
    const connectionString = (await sharedPostgres()).url;
    pool = new pg.Pool({ connectionString });
    other = new pg.Client({ connectionString });
    await other.connect();
    cache = new PostgresCache(pool);
  });
  afterEach(async () => {
    await other.end();
    await pool.end();
  });

  const lockRow = async (storedKey: string) => {
    await other.query('BEGIN');
    await other.query('SELECT 1 FROM bullmq.once_lock WHERE key = $1 FOR UPDATE', [storedKey]);
  };

  it('fails only the step on that key, and answers the others of the batch', async () => {
    const steps = Array.from({ length: 5 }, () => acquireStep());
    for (const step of steps) await acquire(cache, step);
    const [locked, ...free] = steps as [(typeof steps)[0], ...typeof steps];
    await lockRow(locked.storedKey);

    const { renewed, released, acquired } = await cache.exchange({
      renewals: [locked, ...free.slice(0, 3)].map(renewStep),
      releases: free.slice(3).map(step => releaseStep(step)),
      acquisitions: [acquireStep()],
    });
    await other.query('ROLLBACK');
    const [renewedLater] = await cache.renew([renewStep(locked)]);

    expect(renewed[0]).to.be.instanceOf(Error);
    expect(renewed.slice(1)).to.deep.equal([true, true, true]);
    expect(released).to.deep.equal([true]);
    expect(acquired[0]).to.include({ acquired: true });
    expect(renewedLater).to.equal(true);
  });

  it('keeps no connection for a step on that key (the pool has two)', async () => {
    const small = new pg.Pool({ connectionString: (await sharedPostgres()).url, max: 2 });
    const own = new PostgresCache(small);
    const [locked, free] = [acquireStep(), acquireStep()];
    await acquire(own, locked);
    await acquire(own, free);
    await lockRow(locked.storedKey);

    const waiting = Array.from({ length: 3 }, async () => (await own.renew([renewStep(locked)]))[0]);
    const [renewed] = await own.renew([renewStep(free)]);
    const answers = await Promise.all(waiting);
    await other.query('ROLLBACK');
    const [renewedLater] = await own.renew([renewStep(locked)]);
    await small.end();

    expect(renewed).to.equal(true);
    for (const answer of answers) {
      expect(answer).to.include({ code: '55P03' });
      expect(refusalOf(answer as Error)).to.deep.equal({ isTransient: true });
    }
    expect(renewedLater).to.equal(true);
  });

  it('keeps the leases of all other keys, and that of the locked one once its row is free again', async () => {
    const handles = await Promise.all(
      Array.from({ length: 6 }, (_, i) => new Lock(`k${i}-${Date.now()}`, { cache, ttl: 3000 }).acquire()),
    );
    await lockRow(`once::1:default:${handles[0]?.key}`);

    const until1500 = performance.now() + 1500;
    await until(() => performance.now() > until1500);
    await other.query('ROLLBACK');
    const until4000 = performance.now() + 2500;
    await until(() => performance.now() > until4000);

    expect(handles.map(({ held }) => held)).to.deep.equal(handles.map(() => true));
    for (const handle of handles) await handle.release();
  });

  it('releases the locked key as soon as its row is free again', async () => {
    const lock = new Lock(`released-${Date.now()}`, { cache, ttl: 30_000 });
    const handle = await lock.acquire();
    await lockRow(`once::1:default:${lock.key}`);

    const released = handle.release();
    const atLeast = performance.now() + 600;
    await until(() => performance.now() > atLeast);
    await other.query('ROLLBACK');

    expect(await released).to.equal(true);
    expect(await lock.tryAcquire()).to.not.equal(undefined);
  });
});

describe('A key whose row, or table, is locked for a moment', () => {
  let pool: pg.Pool;
  let other: pg.Client;
  beforeEach(async () => {
    const connectionString = (await sharedPostgres()).url;
    pool = new pg.Pool({ connectionString });
    other = new pg.Client({ connectionString });
    await other.connect();
    await new PostgresCache(pool).inspect(['x']);
  });
  afterEach(async () => {
    await other.end();
    await pool.end();
  });

  for (const [name, lock] of [
    ['a row', "DELETE FROM bullmq.once_lock WHERE key = 'once::1:default:momentarily'"],
    ['the table', 'LOCK TABLE bullmq.once_lock IN ACCESS EXCLUSIVE MODE'],
  ] as const) {
    it(`is acquired as soon as it is free (${name})`, async () => {
      const cache = new PostgresCache(pool);
      const held = await new Lock('momentarily', { cache }).tryAcquire();
      await other.query('BEGIN');
      await other.query(lock);

      const acquired = new Lock('momentarily-2', { cache, ttl: 20_000 }).tryAcquire();
      const again = new Lock('momentarily', { cache, ttl: 20_000 }).acquire({ waitFor: 10_000 });
      const later = performance.now() + 700;
      await until(() => performance.now() > later);
      await other.query('COMMIT');
      if (name === 'the table') await held?.release();

      expect((await acquired)?.held).to.equal(true);
      const handle = await again;
      expect(handle.held).to.equal(true);
      await handle.release();
      await (await acquired)?.release();
    });
  }

  it('does not cost the leases of other keys, though many rows are locked', async () => {
    const cache = new PostgresCache(pool);
    const stamp = Date.now();
    const handles = await Promise.all(
      Array.from({ length: 40 }, (_, i) => new Lock(`many-${stamp}-${i}`, { cache, ttl: 5000 }).acquire()),
    );
    await other.query('BEGIN');
    await other.query('SELECT 1 FROM bullmq.once_lock WHERE key = ANY($1) FOR UPDATE', [
      handles.slice(0, 20).map(({ key }) => `once::1:default:${key}`),
    ]);
    const later = performance.now() + 6000;
    await until(() => performance.now() > later);
    await other.query('ROLLBACK');

    expect(handles.slice(20).map(({ held }) => held)).to.deep.equal(handles.slice(20).map(() => true));
    for (const handle of handles) await handle.release();
  });
});
