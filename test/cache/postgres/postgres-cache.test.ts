import { expect } from 'chai';
import pg from 'pg';
import { Lock, type LockCache, type Verdict } from '../../../src/index.ts';
import { migration, PostgresCache } from '../../../src/postgres.ts';
import { acquire, claim, lease } from '../../support/claims.ts';
import { rejection, uniqueName, until } from '../../support/index.ts';
import { sharedPostgres } from '../../support/shared-servers.ts';

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

  describe('where its table is not there', () => {
    it('makes it when it is first used, also where many start at the same moment', async () => {
      const name = schema();
      const caches = Array.from(
        { length: 12 },
        () => new PostgresCache(connect({ max: 1 }), { schema: name }),
      );

      const keys = Array.from({ length: 12 }, () => claim().key);
      const verdicts = await Promise.all(caches.map(cache => cache.acquire(keys.map(key => claim({ key })))));

      const taken = verdicts.flat().filter(verdict => 'taken' in verdict && verdict.taken);
      expect(verdicts.flat().filter(verdict => verdict instanceof Error)).to.deep.equal([]);
      expect(taken).to.have.length(12);
    });

    it('takes a migration that was run by another, and twice', async () => {
      const name = schema();
      await admin.query(migration({ schema: name }));
      await admin.query(migration({ schema: name }));
      const cache = new PostgresCache(await restricted(name), { schema: name });

      expect((await acquire(cache, claim())).taken).to.equal(true);
    });

    it('says what to do where its role may not make it, and takes no job for a duplicate', async () => {
      const name = schema();
      const cache = new PostgresCache(await restricted(), { schema: name });

      const error = await rejection(new Lock('k', { cache }).tryAcquire());

      expect(error.code).to.equal('ERR_LOCK_CACHE');
      expect(error.message)
        .to.contain(`may not make or use the table once_lock of the schema '${name}'`)
        .and.contain(`run the SQL of migration({ schema: '${name}' })`);
      expect((error.cause as Error & { cause: { code: string } }).cause.code).to.equal('42501');
    });
  });

  it('says what to do where its role may not use the table', async () => {
    const name = schema();
    await admin.query(migration({ schema: name }));
    const pool = await restricted();
    await admin.query(`GRANT USAGE ON SCHEMA "${name}" TO PUBLIC`);
    const cache = new PostgresCache(pool, { schema: name });

    const error = await rejection(acquire(cache, claim()));
    const looked = await rejection(cache.inspect(['k']));

    for (const { message } of [error, looked]) {
      expect(message)
        .to.match(/permission denied for table once_lock\); run the SQL/)
        .and.contain('grant this one');
    }
  });

  it('takes a read-only server for an error', async () => {
    await new PostgresCache(admin).inspect(['k']);
    const cache = new PostgresCache(connect({ options: '-c default_transaction_read_only=on' }));

    const error = await rejection(acquire(cache, claim()));

    expect(error.message).to.match(/cannot execute INSERT in a read-only transaction/);
  });

  it('takes a server that is not there, and a pool that has ended, for errors', async () => {
    const nowhere = new PostgresCache(connect({ connectionString: 'postgres://127.0.0.1:1/none' }));
    const pool = connect();
    await pool.end();
    const ended = new PostgresCache(pool);

    expect((await rejection(acquire(nowhere, claim()))).code).to.equal('ECONNREFUSED');
    expect((await rejection(acquire(ended, claim()))).message).to.match(
      /Cannot use a pool after calling end/,
    );
  });

  it('goes on after its connections were terminated', async () => {
    const pool = connect({ application_name: uniqueName('victim') });
    pool.on('error', () => {});
    const cache = new PostgresCache(pool);
    const held = claim();
    await acquire(cache, held);

    const victims = 'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1';
    await admin.query(victims, [pool.options.application_name]);
    await until(() => pool.totalCount === 0);

    expect(await cache.renew([lease(held)])).to.deep.equal([true]);
  });

  it('decides rightly where transactions are serializable by default', async () => {
    const config = { options: '-c default_transaction_isolation=serializable', max: 4 };
    const rivals = [1, 2, 3, 4].map(() => new PostgresCache(connect(config)));

    await onlyOneAtATime(rivals, 40);
  });

  it('leaves another value of the search path and other tables of the schema alone', async () => {
    const name = schema();
    await admin.query(
      `CREATE SCHEMA "${name}"; CREATE TABLE "${name}".job (key text); INSERT INTO "${name}".job VALUES ('k')`,
    );
    const cache = new PostgresCache(connect({ options: '-c search_path=pg_catalog' }), { schema: name });

    await acquire(cache, claim());

    expect((await admin.query(`SELECT key FROM "${name}".job`)).rows).to.deep.equal([{ key: 'k' }]);
  });

  it('keeps what can be read in psql', async () => {
    const a = claim({ owner: 'bull:emails:17@1763980000000', attempt: 3, ttl: 5000 });
    const verdict = await acquire(new PostgresCache(admin), a);

    const { rows } = await admin.query('SELECT * FROM bullmq.once_lock WHERE key = $1', [a.key]);

    expect(rows).to.have.length(1);
    expect(rows[0]).to.include({
      key: a.key,
      owner: a.owner,
      token: a.token,
      attempt: '3',
      state: 'running',
    });
    expect(Number(rows[0].fence)).to.equal(verdict.taken && verdict.fence);
    expect(rows[0].expires - rows[0].since).to.equal(5000);
  });

  it('sweeps expired locks away as others come, and no others', async () => {
    const name = schema();
    const pool = connect();
    const first = new PostgresCache(pool, { schema: name });
    const dead = Array.from({ length: 1500 }, () => claim({ ttl: 10 }));
    const alive = claim();
    await first.acquire([...dead, alive]);
    await until(async () =>
      (await first.inspect(dead.map(({ key }) => key))).every(one => one === undefined),
    );

    // A cache sweeps when it first has work, and goes on as long as there is much.
    const second = new PostgresCache(pool, { schema: name });
    for (let i = 0; i < 2; i++) await second.renew([lease(claim())]);

    const { rows } = await pool.query(`SELECT key FROM "${name}".once_lock`);
    expect(rows).to.deep.equal([{ key: alive.key }]);
  });

  it('keeps the fences of a key rising where claims wait for each other', async () => {
    const fences = await onlyOneAtATime(
      [1, 2, 3, 4].map(() => new PostgresCache(connect({ max: 2 }))),
      60,
    );

    expect(fences).to.deep.equal([...fences].sort((a, b) => a - b));
    expect(new Set(fences).size).to.equal(60);
  });

  it('refuses what is no pool, and what is no name of a schema', () => {
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

  /** A pool of a role that owns nothing. It may use the locks of a schema, where one is given. */
  async function restricted(name?: string): Promise<pg.Pool> {
    const role = uniqueName('role').replaceAll('-', '_');
    await admin.query(`CREATE ROLE ${role} LOGIN`);
    if (name) {
      await admin.query(`GRANT USAGE ON SCHEMA "${name}" TO ${role}`);
      await admin.query(`GRANT SELECT, INSERT, UPDATE, DELETE ON "${name}".once_lock TO ${role}`);
    }
    const asRole = new URL(url);
    asRole.username = role;
    return connect({ connectionString: asRole.href });
  }
});

/** Rivals take one key in turn; fails where two have it at once. Returns the fences, in the order of taking. */
async function onlyOneAtATime(rivals: readonly LockCache[], takings: number): Promise<number[]> {
  const { key } = claim();
  const fences: number[] = [];
  let holders = 0;
  await Promise.all(
    rivals.map(async cache => {
      while (fences.length < takings) {
        const a = claim({ key });
        const verdict: Verdict = await acquire(cache, a);
        if (!verdict.taken) continue;
        expect(++holders, 'holders').to.equal(1);
        if (fences.length < takings) fences.push(verdict.fence);
        await new Promise(setImmediate);
        holders--;
        expect(await cache.release([lease(a)])).to.deep.equal([true]);
      }
    }),
  );
  return fences;
}
