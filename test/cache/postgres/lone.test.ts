/** Lone acquisitions and lone releases: what one statement decides, and what is left to the function for a step. */

import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import pg from 'pg';
import type { AcquireStep } from '../../../src/cache/contract.ts';
import { PostgresCache } from '../../../src/cache/postgres/postgres-cache.ts';
import { uniqueName, until } from '../../support/index.ts';
import { sharedPostgres } from '../../support/shared-servers.ts';
import { acquire, acquireStep, enterStep, releaseStep } from '../../support/steps.ts';

describe('PostgresCache, with a lone step', () => {
  let pool: pg.Pool;
  let other: pg.Client;
  let cache: PostgresCache;
  /** Of this test alone, so that no call sweeps what other tests have left. */
  let schema: string;
  let table: string;
  /** The statements that were sent, by their names. */
  let sent: string[];
  beforeEach(async () => {
    const connectionString = (await sharedPostgres()).url;
    pool = new pg.Pool({ connectionString, max: 2, application_name: uniqueName('lone') });
    other = new pg.Client({ connectionString });
    await other.connect();
    schema = uniqueName('lone').replaceAll('-', '_');
    table = `${schema}.once_lock`;
    cache = new PostgresCache(pool, { schema });
    // The first call of a cache sweeps, and is one for a batch.
    await acquire(cache, acquireStep());
    sent = [];
    const query = pool.query.bind(pool) as (...given: unknown[]) => unknown;
    pool.query = ((...given: [{ text: string }]) => {
      sent.push(/once_\w+?_\d/.exec(given[0].text)?.[0] ?? given[0].text);
      return query(...given);
    }) as never;
  });
  afterEach(async () => {
    await other.query('ROLLBACK');
    await other.query(`DROP SCHEMA ${schema} CASCADE`);
    await other.end();
    await pool.end();
  });

  const set = (what: string, { storedKey }: AcquireStep) =>
    other.query(`UPDATE ${table} SET ${what} WHERE key = $1`, [storedKey]);
  const release = async (step: AcquireStep) => (await cache.release([releaseStep(step)]))[0];
  const rival = ({ storedKey }: AcquireStep, more: Partial<AcquireStep> = {}) =>
    acquireStep({ storedKey, ...more });
  const rowsOf = async ({ storedKey }: AcquireStep) =>
    (await other.query(`SELECT * FROM ${table} WHERE key = $1`, [storedKey])).rows;
  const microsecondsNow = async (): Promise<number> => {
    const { rows } = await other.query('SELECT extract(epoch FROM clock_timestamp()) * 1000000 AS now');
    return Number(rows[0].now);
  };
  const isWaiting = async () => {
    const { rows } = await other.query(
      `SELECT FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'`,
      [pool.options.application_name],
    );
    return rows.length > 0;
  };

  it('acquires, refuses and releases by one statement each', async () => {
    const step = acquireStep();

    const acquired = await acquire(cache, step);
    const refused = await acquire(cache, rival(step));
    const released = await release(step);

    expect([acquired.acquired, refused.acquired, released]).to.deep.equal([true, false, true]);
    expect(sent).to.deep.equal(['once_acquire_1', 'once_acquire_1', 'once_release_2']);
    expect(await rowsOf(step)).to.deep.equal([]);
  });

  it('gives a fence of the time at which the key was free (its insertion waited for a release)', async () => {
    const released = acquireStep();
    const step = rival(released);
    await acquire(cache, released);
    await other.query('BEGIN');
    await other.query(`DELETE FROM ${table} WHERE key = $1`, [released.storedKey]);

    const acquiring = acquire(cache, step);
    await until(isWaiting);
    const freeAt = await microsecondsNow();
    await other.query('COMMIT');
    const result = await acquiring;
    const [row] = await rowsOf(step);

    expect(result.acquired && result.fence)
      .to.be.above(freeAt)
      .and.equal(Number(row.fence));
    expect(row.since.getTime() * 1000).to.be.at.least(freeAt - 1000);
    expect(row.expires - row.since).to.equal(step.ttl);
  });

  it('grants the same acquisition again as it was, and reclaims that of an older run', async () => {
    const step = acquireStep({ attempt: 1 });

    const first = await acquire(cache, step);
    const again = await acquire(cache, step);
    const reclaimed = await acquire(cache, rival(step, { owner: step.owner, attempt: 2 }));
    const refused = await acquire(cache, rival(step, { owner: step.owner, attempt: 1 }));

    expect(again).to.deep.equal(first);
    expect(reclaimed).to.include({ acquired: true, reclaimed: true });
    expect(refused.acquired).to.equal(false);
    expect(sent).to.deep.equal(Array(4).fill('once_acquire_1'));
  });

  it('acquires a key whose lease has expired, with a higher fence than any before (the clock was set back)', async () => {
    const dead = acquireStep();
    const step = rival(dead);
    await acquire(cache, dead);
    const ahead = (await microsecondsNow()) + 3_600_000_000;
    await set(`fence = ${ahead}, expires = now()`, dead);

    const result = await acquire(cache, step);

    expect(result).to.deep.include({ acquired: true, fence: ahead + 1, reclaimed: false });
  });

  it('refuses a key that several hold, and reclaims the place of an older run (it is not the first)', async () => {
    const { storedKey } = acquireStep();
    const holders = [1, 2].map(attempt => enterStep({ storedKey, attempt, places: 2 }));
    await cache.enter(holders);
    const [first, second] = holders as unknown as [AcquireStep, AcquireStep];

    const refused = await acquire(cache, rival(first));
    const reclaimed = await acquire(cache, rival(second, { owner: second.owner, attempt: 3 }));

    expect(refused).to.have.nested.property('record.owner', first.owner);
    expect(reclaimed).to.include({ acquired: true, reclaimed: true });
  });

  it('notifies a release of which an acquisition has asked to be notified, by one statement', async () => {
    const step = acquireStep();
    await acquire(cache, step);
    let notified = 0;
    const listener = cache.listen(step.storedKey, () => notified++);
    await until(() => listener.isListening);
    const before = notified;
    await acquire(cache, rival(step));
    await acquire(cache, rival(step, { notify: true }));
    const [{ awaited }] = await rowsOf(step);
    sent = [];

    const released = await release(step);
    await until(() => notified > before);
    listener.stop();

    expect([awaited, released, sent]).to.deep.equal([true, true, ['once_release_2']]);
  });

  for (const [how, what] of [
    ['its fence is ahead of the clock', `fence = fence + 3600000000`],
    ['the key has other places', 'shared = true'],
  ] as const) {
    it(`releases where ${how}`, async () => {
      const step = acquireStep();
      await acquire(cache, step);
      await set(what, step);
      sent = [];

      const released = await release(step);

      expect([released, sent]).to.deep.equal([true, ['once_release_2']]);
      expect(await rowsOf(step)).to.deep.equal([]);
    });
  }

  it('does not release what has expired, what is kept as done, and what another holds', async () => {
    const [expired, done, lost] = [acquireStep(), acquireStep(), acquireStep()];
    for (const step of [expired, done, lost]) await acquire(cache, step);
    await set('expires = now()', expired);
    await cache.release([{ ...releaseStep(done), dedupeFor: 60_000 }]);
    await set("token = 'another'", lost);

    const released = [await release(expired), await release(done), await release(lost)];

    expect(released).to.deep.equal([false, false, false]);
    expect(await rowsOf(done)).to.have.length(1);
    expect(await rowsOf(lost)).to.have.length(1);
  });

  it('waits no longer than a step for a row that a stranger has locked, and leaves lock_timeout as it was', async () => {
    const [locked, inserted] = [acquireStep(), acquireStep()];
    await acquire(cache, locked);
    await other.query('BEGIN');
    await other.query(`SELECT FROM ${table} WHERE key = $1 FOR UPDATE`, [locked.storedKey]);
    await other.query(
      `INSERT INTO ${table} (key, state, token, owner, attempt, fence, since, expires) VALUES ($1, '', '', '', 0, 0, now(), now())`,
      [inserted.storedKey],
    );

    const [released] = await cache.release([releaseStep(locked)]);
    const [acquired] = await cache.acquire([inserted]);
    await other.query('ROLLBACK');
    const { rows } = await pool.query('SHOW lock_timeout');

    for (const answer of [released, acquired]) expect(answer).to.include({ code: '55P03' });
    expect(rows).to.deep.equal([{ lock_timeout: '0' }]);
    expect(await release(locked)).to.equal(true);
  });

  it('waits no longer than that for a table that a stranger has locked', async () => {
    const step = acquireStep();
    await acquire(cache, step);
    await other.query('BEGIN');
    await other.query(`LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE`);

    const [released] = await cache.release([releaseStep(step)]);
    const [acquired] = await cache.acquire([acquireStep()]);
    await other.query('ROLLBACK');

    for (const answer of [released, acquired]) expect(answer).to.include({ code: '55P03' });
    expect(await release(step)).to.equal(true);
  });

  it('says that a lease was lost that expired while its release waited for the row', async () => {
    const step = acquireStep();
    await acquire(cache, step);
    await other.query('BEGIN');
    await set("expires = clock_timestamp() + interval '30 ms'", step);

    const releasing = release(step);
    await until(isWaiting);
    await delay(40);
    await other.query('COMMIT');

    expect(await releasing).to.equal(false);
    expect(await rowsOf(step)).to.deep.equal([]);
  });

  it('leaves nothing behind in a transaction of the user', async () => {
    const step = acquireStep();
    const one = new pg.Pool({ ...pool.options, max: 1 });
    const own = new PostgresCache(one, { schema });
    await acquire(own, acquireStep());
    await one.query('BEGIN');

    await acquire(own, step);
    await own.release([releaseStep(step)]);
    await own.release([acquireStep(), acquireStep()].map(one => releaseStep(one)));
    const { rows } = await one.query(
      `SELECT current_setting('lock_timeout') AS timeout, current_setting('synchronous_commit') AS commit`,
    );
    await one.query('COMMIT');
    await one.end();

    expect(rows).to.deep.equal([{ timeout: '0', commit: 'on' }]);
  });
});
