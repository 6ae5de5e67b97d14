import { expect } from 'chai';
import pg from 'pg';
import type { LockCache } from '../../../src/cache/contract.ts';
import { migration, PostgresCache } from '../../../src/cache/postgres/postgres-cache.ts';
import { Lock } from '../../../src/lock/lock.ts';
import { rejection, uniqueName, until } from '../../support/index.ts';
import { isLockTimeout } from '../../support/postgres-errors.ts';
import { sharedPglite, sharedPostgres } from '../../support/shared-servers.ts';
import { acquire, acquireStep, releaseStep, renewStep } from '../../support/steps.ts';

describe('PostgresCache', () => {
  let url: string;
  let admin: pg.Pool;
  const pools: pg.Pool[] = [];
  const schema = () => uniqueName('Locks').replaceAll('-', '_');
  const connect = (config: pg.PoolConfig = {}) => {
    const pool = new pg.Pool({ connectionString: url, ...config });
    pools.push(pool);
    return pool;
  };
  before(async () => {
    ({ url } = await sharedPostgres());
    admin = new pg.Pool({ connectionString: url });
  });
  afterEach(() => Promise.all(pools.splice(0).map(pool => pool.ended || pool.end())));
  after(() => admin.end());

  describe('without its table', () => {
    it('creates the table when it is first used (many processes start at the same moment)', async () => {
      const name = schema();
      const caches = Array.from(
        { length: 12 },
        () => new PostgresCache(connect({ max: 1 }), { schema: name }),
      );

      const storedKeys = Array.from({ length: 12 }, () => acquireStep().storedKey);
      const results = await Promise.all(
        caches.map(cache => cache.acquire(storedKeys.map(storedKey => acquireStep({ storedKey })))),
      );

      const acquired = results.flat().filter(result => 'acquired' in result && result.acquired);
      expect(results.flat().filter(result => result instanceof Error)).to.deep.equal([]);
      expect(acquired).to.have.length(12);
    });

    it('uses the table that a migration created (the migration was run twice, by another role)', async () => {
      const name = schema();
      await admin.query(migration({ schema: name }));
      await admin.query(migration({ schema: name }));
      const cache = new PostgresCache(await restricted(name), { schema: name });

      expect((await acquire(cache, acquireStep())).acquired).to.equal(true);
    });

    it('fails with a CacheError that says what to do (its role may not create the table)', async () => {
      const name = schema();
      const cache = new PostgresCache(await restricted(), { schema: name });

      const error = await rejection(new Lock('k', { cache }).tryAcquire());

      expect(error.code).to.equal('ERR_LOCK_CACHE');
      expect(error.message)
        .to.contain(`may not create or use the tables of the schema '${name}'`)
        .and.contain(`run the SQL of migration({ schema: '${name}' })`);
      expect((error.cause as Error & { cause: { code: string } }).cause.code).to.equal('42501');
    });
  });

  it('fails with an error that says what to do (its role may not use the table)', async () => {
    const name = schema();
    await admin.query(migration({ schema: name }));
    const pool = await restricted();
    await admin.query(`GRANT USAGE ON SCHEMA "${name}" TO PUBLIC`);
    const cache = new PostgresCache(pool, { schema: name });

    const error = await rejection(acquire(cache, acquireStep()));
    const inspectError = await rejection(cache.inspect(['k']));

    for (const { message } of [error, inspectError]) {
      expect(message)
        .to.match(/permission denied for table once_lock\); run the SQL/)
        .and.contain('grant this one');
    }
  });

  it('fails with the error of the server (it is read-only)', async () => {
    await new PostgresCache(admin).inspect(['k']);
    const cache = new PostgresCache(connect({ options: '-c default_transaction_read_only=on' }));

    const error = await rejection(acquire(cache, acquireStep()));

    expect(error.message).to.match(/cannot execute INSERT in a read-only transaction/);
  });

  it('fails with the error of the pool (there is no server, or the pool has ended)', async () => {
    const nowhere = new PostgresCache(connect({ connectionString: 'postgres://127.0.0.1:1/none' }));
    const pool = connect();
    await pool.end();
    const ended = new PostgresCache(pool);

    expect((await rejection(acquire(nowhere, acquireStep()))).code).to.equal('ECONNREFUSED');
    expect((await rejection(acquire(ended, acquireStep()))).message).to.match(
      /Cannot use a pool after calling end/,
    );
  });

  it('keeps its leases when its connections are terminated', async () => {
    const pool = connect({ application_name: uniqueName('victim') });
    pool.on('error', () => {});
    const cache = new PostgresCache(pool);
    const held = acquireStep();
    await acquire(cache, held);

    const victims = 'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1';
    await admin.query(victims, [pool.options.application_name]);
    await until(() => pool.totalCount === 0);

    expect(await cache.renew([renewStep(held)])).to.deep.equal([true]);
  });

  it('keeps exclusion where transactions are serializable by default', async () => {
    const config = { options: '-c default_transaction_isolation=serializable', max: 4 };
    const rivals = [1, 2, 3, 4].map(() => new PostgresCache(connect(config)));

    await onlyOneAtATime(rivals, 40);
  });

  it('uses its own schema, and leaves other tables there alone (the search path does not name the schema)', async () => {
    const name = schema();
    await admin.query(
      `CREATE SCHEMA "${name}"; CREATE TABLE "${name}".job (key text); INSERT INTO "${name}".job VALUES ('k')`,
    );
    const cache = new PostgresCache(connect({ options: '-c search_path=pg_catalog' }), { schema: name });

    await acquire(cache, acquireStep());

    expect((await admin.query(`SELECT key FROM "${name}".job`)).rows).to.deep.equal([{ key: 'k' }]);
  });

  it('stores a row that psql can show', async () => {
    const a = acquireStep({ owner: 'bull:emails:17@1763980000000', attempt: 3, ttl: 5000 });
    const result = await acquire(new PostgresCache(admin), a);

    const { rows } = await admin.query('SELECT * FROM bullmq.once_lock WHERE key = $1', [a.storedKey]);

    expect(rows).to.have.length(1);
    expect(rows[0]).to.include({
      key: a.storedKey,
      owner: a.owner,
      token: a.token,
      attempt: '3',
      state: 'running',
    });
    expect(Number(rows[0].fence)).to.equal(result.acquired && result.fence);
    expect(rows[0].expires - rows[0].since).to.equal(5000);
  });

  it('deletes expired locks, and no others, while it has work', async () => {
    const name = schema();
    const pool = connect();
    const first = new PostgresCache(pool, { schema: name });
    const dead = Array.from({ length: 1500 }, () => acquireStep({ ttl: 10 }));
    const alive = acquireStep();
    await first.acquire([...dead, alive]);
    await until(async () =>
      (await first.inspect(dead.map(({ storedKey }) => storedKey))).every(one => one === undefined),
    );

    // A cache sweeps at its first work, and at each work after that as long as many locks have expired.
    const second = new PostgresCache(pool, { schema: name });
    for (let i = 0; i < 2; i++) await second.renew([renewStep(acquireStep())]);

    const { rows } = await pool.query(`SELECT key FROM "${name}".once_lock`);
    expect(rows).to.deep.equal([{ key: alive.storedKey }]);
  });

  it('gives rising fences for a key (the acquisitions wait for each other)', async () => {
    const fences = await onlyOneAtATime(
      [1, 2, 3, 4].map(() => new PostgresCache(connect({ max: 2 }))),
      60,
    );

    expect(fences).to.deep.equal([...fences].sort((a, b) => a - b));
    expect(new Set(fences).size).to.equal(60);
  });

  it('gives rising fences for a key where the clock moves once in a ms (PGlite)', async () => {
    const pool = connect({ connectionString: (await sharedPglite()).url, max: 1 });
    const cache = new PostgresCache(pool, { schema: schema() });
    const { storedKey } = acquireStep();
    const fences: number[] = [];
    for (let i = 0; i < 100; i++) {
      const step = acquireStep({ storedKey });
      const result = await acquire(cache, step);
      if (result.acquired) fences.push(result.fence);
      await (i % 2 ? cache.release([releaseStep(step)]) : cache.forceRelease([{ storedKey }]));
    }

    expect(fences).to.deep.equal([...new Set(fences)].sort((a, b) => a - b));
    expect(fences).to.have.length(100);
  });

  it('refuses what is no pool, and a schema that is no plain name', () => {
    expect(() => new PostgresCache({} as never)).to.throw(
      TypeError,
      /needs a pg\.Pool.*it got an object of class Object/,
    );
    expect(() => new PostgresCache('postgres://' as never)).to.throw(TypeError, /it got 'postgres:\/\/'/);
    for (const name of ['', 'a"; DROP SCHEMA bullmq CASCADE; --', '1a', 'a-b', 'a$once$', 'a'.repeat(64)]) {
      expect(() => migration({ schema: name }), name).to.throw(TypeError, /'schema' must be a plain name/);
    }
    expect(() => new PostgresCache(admin, { schema: 7 as never })).to.throw(
      TypeError,
      /must be a plain name.*, not 7/,
    );
    expect(() => migration({ schema: 'A_$1' })).not.to.throw();
  });

  /** A pool of a role that owns nothing. If a schema is given, the role may use the locks of that schema. */
  async function restricted(name?: string): Promise<pg.Pool> {
    const role = uniqueName('role').replaceAll('-', '_');
    await admin.query(`CREATE ROLE ${role} LOGIN`);
    if (name) {
      await admin.query(`GRANT USAGE ON SCHEMA "${name}" TO ${role}`);
      for (const table of ['once_lock', 'once_line', 'once_last_run', 'once_result', 'once_answered']) {
        await admin.query(`GRANT SELECT, INSERT, UPDATE, DELETE ON "${name}".${table} TO ${role}`);
      }
    }
    const asRole = new URL(url);
    asRole.username = role;
    return connect({ connectionString: asRole.href });
  }
});

/** Sends a step again as long as its row is locked for too long, as rows are on a busy machine. Then nothing was done. */
async function untilNotLocked<Answer>(send: () => Promise<readonly (Answer | Error)[]>): Promise<Answer> {
  for (;;) {
    const [answer] = await send();
    if (!(answer instanceof Error)) return answer as Answer;
    if (!isLockTimeout(answer)) throw answer;
  }
}

/**
 * Rivals acquire one key until there were so many acquisitions. Fails if two of them hold it at once.
 * @returns the fences, in the order of the acquisitions.
 */
async function onlyOneAtATime(rivals: readonly LockCache[], acquisitions: number): Promise<number[]> {
  const { storedKey } = acquireStep();
  const fences: number[] = [];
  let holders = 0;
  await Promise.all(
    rivals.map(async cache => {
      while (fences.length < acquisitions) {
        const step = acquireStep({ storedKey });
        const result = await untilNotLocked(() => cache.acquire([step]));
        if (!result.acquired) continue;
        expect(++holders, 'holders').to.equal(1);
        if (fences.length < acquisitions) fences.push(result.fence);
        await new Promise(setImmediate);
        holders--;
        expect(await untilNotLocked(() => cache.release([releaseStep(step)]))).to.equal(true);
      }
    }),
  );
  return fences;
}
