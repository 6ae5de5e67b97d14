/** Several places and lines of a key in PostgreSQL: rivals at once, and the rows that they leave. */

import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import pg from 'pg';
import type { EnterResult, EnterStep, LeaveStep, LockCache } from '../../../src/cache/contract.ts';
import { PostgresCache } from '../../../src/cache/postgres/postgres-cache.ts';
import { enterStep } from '../../../src/conformance/lines.ts';
import { uniqueName, until } from '../../support/index.ts';
import { isLockTimeout } from '../../support/postgres-errors.ts';
import { sharedPglite, sharedPostgres } from '../../support/shared-servers.ts';
import { acquire, acquireStep, releaseStep, renewStep } from '../../support/steps.ts';

describe('The places and lines of PostgresCache', () => {
  let admin: pg.Pool;
  let cache: PostgresCache;
  const pools: pg.Pool[] = [];
  const connect = async (config: pg.PoolConfig = {}) => {
    const pool = new pg.Pool({ connectionString: (await sharedPostgres()).url, ...config });
    pools.push(pool);
    return pool;
  };
  before(async () => {
    admin = new pg.Pool({ connectionString: (await sharedPostgres()).url });
    await new PostgresCache(admin).inspect(['a key, to create the tables']);
  });
  beforeEach(async () => {
    cache = new PostgresCache(await connect());
  });
  afterEach(async () => {
    expect(await brokenKeys(), 'keys whose rows have no gate, or a wrong one').to.deep.equal([]);
    await Promise.all(pools.splice(0).map(pool => pool.end()));
  });
  after(() => admin.end());

  /** A key with rows has one of place 1, which says whether there are others. */
  async function brokenKeys(): Promise<string[]> {
    const { rows } = await admin.query(`
      SELECT key FROM bullmq.once_lock GROUP BY key
      HAVING min(place) <> 1 OR bool_or(shared AND place = 1) <> (count(*) > 1) OR bool_or(shared AND place > 1)`);
    return rows.map(({ key }) => key);
  }

  async function fencesOf(storedKey: string): Promise<number[]> {
    const { rows } = await admin.query(
      'SELECT fence FROM bullmq.once_lock WHERE key = $1 AND expires > clock_timestamp()',
      [storedKey],
    );
    return rows.map(({ fence }) => Number(fence));
  }

  for (const [name, config] of [
    ['read committed', {}],
    ['serializable', { options: '-c default_transaction_isolation=serializable' }],
  ] as const) {
    it(`lets no more than three of many rivals hold a key with three places (four pools, ${name})`, async () => {
      const rivals = await Promise.all(
        [1, 2, 3, 4].map(async () => new PostgresCache(await connect({ max: 3, ...config }))),
      );
      const storedKey = acquireStep().storedKey;
      const granted: number[] = [];
      let most = 0;
      let holders = 0;
      let isOver = false;
      const watching = (async () => {
        while (!isOver) most = Math.max(most, (await fencesOf(storedKey)).length);
      })();

      await Promise.all(
        [...rivals, ...rivals, ...rivals].map(async rival => {
          // On a busy machine it may take longer until somebody looks while three hold it.
          while (granted.length < 200 || most < 3) {
            const step = enterStep({ storedKey, places: 3 });
            const result = await unlessLocked(() => enter(rival, step));
            if (!result.acquired) continue;
            granted.push(result.fence);
            expect(++holders, 'holders').to.be.at.most(3);
            expect(await fencesOf(storedKey), 'the fences in the table').to.include(result.fence);
            holders--;
            expect((await unlessLocked(() => leave(rival, step))).released).to.equal(true);
          }
        }),
      );
      isOver = true;
      await watching;

      expect(most).to.equal(3);
      expect(new Set(granted).size).to.equal(granted.length);
      expect(await fencesOf(storedKey)).to.deep.equal([]);
    });
  }

  it('lets one hold a key alone only when all of its places are free (a concurrency lowered from three to one)', async () => {
    const storedKey = acquireStep().storedKey;
    const holders = [1, 2, 3].map(() => enterStep({ storedKey, places: 3 }));
    for (const step of holders) expect((await enter(cache, step)).acquired).to.equal(true);
    const rivals = await Promise.all([1, 2, 3].map(async () => new PostgresCache(await connect({ max: 2 }))));
    let left = 0;
    let alone = 0;
    let acquisitions = 0;

    const racing = rivals.flatMap((rival, i) =>
      [enterStep({ storedKey }), undefined].map(async entering => {
        while (acquisitions < 40) {
          const step = { ...(entering ?? acquireStep({ storedKey })), token: `${i} ${uniqueName()}` };
          const result = entering ? await enter(rival, step as EnterStep) : await acquire(rival, step);
          if (!result.acquired) continue;
          acquisitions++;
          expect(left, 'those who had left').to.equal(3);
          expect(++alone, 'those who hold it alone').to.equal(1);
          await delay(1);
          alone--;
          const released = entering
            ? (await leave(rival, step as EnterStep)).released
            : (await rival.release([releaseStep(step)]))[0];
          expect(released).to.equal(true);
        }
      }),
    );
    for (const step of holders) {
      await delay(50);
      left++;
      await leave(cache, step);
    }
    await Promise.all(racing);
  });

  it('refuses a plain acquisition while only the second place is held (the first has expired, or was left)', async () => {
    for (const first of [{ ttl: 30 }, {}]) {
      const storedKey = acquireStep().storedKey;
      const [one, two] = [enterStep({ storedKey, places: 2, ...first }), enterStep({ storedKey, places: 2 })];
      await enter(cache, one);
      await enter(cache, two);
      if (first.ttl) await until(async () => (await fencesOf(storedKey)).length === 1);
      else await leave(cache, one);

      const plain = acquireStep({ storedKey });
      const refused = await acquire(cache, plain);
      const [record] = await cache.inspect([storedKey]);
      const renewed = await cache.renew([renewStep(one), renewStep(two)]);
      const released = await cache.release([releaseStep(two)]);

      expect([refused.acquired, record?.owner]).to.deep.equal([false, two.owner]);
      expect([renewed, released]).to.deep.equal([[false, true], [true]]);
      expect((await acquire(cache, plain)).acquired).to.equal(true);
      expect((await enter(cache, enterStep({ storedKey, places: 2 }))).acquired).to.equal(true);
    }
  });

  it('has plain steps act on the place that their token has, in one batch', async () => {
    const storedKey = acquireStep().storedKey;
    const steps = Array.from({ length: 4 }, (_, i) =>
      enterStep({ storedKey, places: 4, owner: `o${i}`, attempt: 1 }),
    );
    for (const step of steps) await enter(cache, step);
    const [a, b, c, d] = steps as [EnterStep, EnterStep, EnterStep, EnterStep];

    const again = { ...acquireStep({ storedKey, owner: 'o3' }), attempt: 2 };
    const { released, renewed, acquired } = await cache.exchange({
      releases: [releaseStep(a), releaseStep(b, 60_000)],
      renewals: [renewStep(d), renewStep(c), renewStep(a)],
      acquisitions: [acquireStep({ storedKey }), again],
    });

    expect([released, renewed]).to.deep.equal([
      [true, true],
      [true, true, false],
    ]);
    expect(acquired[0]).to.deep.include({ acquired: false }).and.have.nested.property('record.owner', 'o1');
    expect(acquired[1]).to.include({ acquired: true, reclaimed: true });
    const states = await admin.query(
      'SELECT owner, state FROM bullmq.once_lock WHERE key = $1 ORDER BY fence',
      [storedKey],
    );
    expect(states.rows.filter(({ owner }) => owner !== 'o0')).to.deep.equal([
      { owner: 'o1', state: 'done' },
      { owner: 'o2', state: 'running' },
      { owner: 'o3', state: 'running' },
    ]);
    expect(await cache.forceRelease([{ storedKey }])).to.deep.equal([true]);
    expect(await fencesOf(storedKey)).to.deep.equal([]);
  });

  it('lists each holder, and frees by force the one with the given fence', async () => {
    const prefix = `once::1:${uniqueName()}:`;
    const steps = Array.from({ length: 600 }, (_, i) =>
      enterStep({ storedKey: `${prefix}${i % 2}`, places: 300, owner: `owner ${i}` }),
    );
    const results = await cache.enter(steps);
    const owners = async () => {
      const found: string[] = [];
      for await (const { owner } of cache.list(prefix)) found.push(owner);
      return found.sort();
    };

    expect(await owners()).to.deep.equal(steps.map(({ owner }) => owner).sort());
    const [first, , second] = results as [EnterResult, EnterResult, EnterResult];
    const fences = [first, second].map(result => (result.acquired ? result.fence : 0));
    const storedKey = `${prefix}0`;
    expect(await cache.forceRelease([...fences, 1].map(fence => ({ storedKey, fence })))).to.deep.equal([
      true,
      true,
      false,
    ]);
    expect(await owners())
      .to.have.length(598)
      .and.not.include.members(['owner 0', 'owner 2']);
  });

  it('has no deadlocks, and answers each step (large batches on shared keys, in different orders)', async () => {
    const deadlocks = async () =>
      (await admin.query('SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()'))
        .rows[0];
    const before = await deadlocks();
    const rivals = await Promise.all([1, 2, 3].map(async () => new PostgresCache(await connect({ max: 3 }))));
    const keys = Array.from({ length: 60 }, () => acquireStep().storedKey);
    const errors: unknown[] = [];
    const check = (answers: readonly unknown[]) =>
      // On a busy machine a row may be locked for too long: that is an answer.
      errors.push(...answers.filter(one => one instanceof Error && !isLockTimeout(one)));

    await Promise.all(
      rivals.map(async (rival, i) => {
        for (let round = 0; round < 8; round++) {
          const shuffled = [...keys, ...keys].sort(() => Math.random() - 0.5);
          const line = keys.indexOf(shuffled[0] as string) % 2 ? 'all' : 'newest';
          const steps = shuffled.map((storedKey, j) =>
            enterStep({ storedKey, places: 2, line, owner: `bull:q:${i}${round}${j}@${j}`, notify: true }),
          );
          const some = await Promise.all([
            rival.enter(steps),
            rival.renew(shuffled.map(storedKey => renewStep(acquireStep({ storedKey })))),
            rival.strikeOut([...steps].reverse()),
            rival.acquire(shuffled.map(storedKey => acquireStep({ storedKey, ttl: 5 }))),
          ]);
          for (const answers of some) check(answers);
          check(await rival.renew([...steps].reverse().map(renewStep)));
          check(await rival.leave([...steps].sort(() => Math.random() - 0.5).map(step => leaveStep(step))));
          if (round % 4 === 3) await rival.forceRelease([...shuffled].map(storedKey => ({ storedKey })));
        }
      }),
    );

    // A connection reports its deadlocks when it ends.
    await Promise.all(pools.splice(0).map(pool => pool.end()));
    await delay(100);
    expect(errors).to.deep.equal([]);
    expect(await deadlocks()).to.deep.equal(before);
  });

  it('gives each place of a key once, and the line in its order (PGlite, whose clock moves once in a ms)', async () => {
    const pool = await connect({ connectionString: (await sharedPglite()).url, max: 1 });
    const own = new PostgresCache(pool, { schema: uniqueName('Locks').replaceAll('-', '_') });
    const storedKey = acquireStep().storedKey;
    const fences: number[] = [];
    const holders: EnterStep[] = [];
    for (let i = 0; i < 60; i++) {
      const step = enterStep({ storedKey, places: 3, line: 'all', owner: `owner ${i}` });
      const result = await enter(own, step);
      if (!result.acquired) break;
      fences.push(result.fence);
      holders.push(step);
      if (holders.length === 3) await leave(own, holders.splice(i % 3, 1)[0] as EnterStep);
    }
    const [one, two, three] = ['x', 'y', 'z'].map(owner =>
      enterStep({ storedKey, places: 3, line: 'all', owner }),
    ) as [EnterStep, EnterStep, EnterStep];
    const results = [await enter(own, one), await enter(own, two), await enter(own, three)];

    expect(fences)
      .to.deep.equal([...new Set(fences)].sort((a, b) => a - b))
      .and.have.length(60);
    expect(results.map(({ acquired }) => acquired)).to.deep.equal([true, false, false]);
    expect(await leave(own, one)).to.deep.equal({ released: true, next: 'y' });
    expect(await own.lines([{ storedKey, owner: 'z' }])).to.deep.equal([
      { held: 2, parked: 2, head: 'y', ahead: 1, holds: false },
    ]);
  });

  it('notifies those who listen when a holder leaves that was found in the way, and when an owner joins', async () => {
    const holders = [1, 2].map(() => enterStep({ places: 2, line: 'all' }));
    const storedKey = holders[0]?.storedKey as string;
    for (const step of holders) await enter(cache, { ...step, storedKey });
    let notified = 0;
    const listener = cache.listen(storedKey, () => notified++);
    await until(() => listener.isListening);
    const isNotifiedBy = async (action: () => Promise<unknown>) => {
      const before = notified;
      await action();
      await until(() => notified > before);
    };

    await isNotifiedBy(() =>
      enter(cache, enterStep({ storedKey, places: 2, line: 'all', notify: true, interrupts: true })),
    );
    for (const step of holders) await isNotifiedBy(() => leave(cache, { ...step, storedKey }));
    listener.stop();
  });

  it('keeps owners of any characters apart (NUL, backslashes)', async () => {
    const storedKey = `${acquireStep().storedKey}\0\\0`;
    const owners = ['\0', '\\0', '\\\0', 'a\0b', '\\'];
    const holder = enterStep({ storedKey, line: 'all', owner: '\\\\0' });
    await enter(cache, holder);
    for (const owner of owners) await enter(cache, enterStep({ storedKey, line: 'all', owner }));

    const lines = await cache.lines(owners.map(owner => ({ storedKey, owner })));

    expect(lines.map(({ ahead, head }) => [ahead, head])).to.deep.equal(owners.map((_, i) => [i, '\0']));
    expect((await leave(cache, holder)).next).to.equal('\0');
  });

  it('fails only the step on a key whose row another transaction has locked', async () => {
    const steps = Array.from({ length: 5 }, () => enterStep({ places: 2 }));
    await cache.enter(steps);
    const other = new pg.Client({ connectionString: (await sharedPostgres()).url });
    await other.connect();
    await other.query('BEGIN');
    await other.query('SELECT FROM bullmq.once_lock WHERE key = $1 FOR UPDATE', [steps[2]?.storedKey]);
    const startedAt = performance.now();

    const beside = await cache.enter(
      steps.map(step => enterStep({ ...step, owner: 'o', token: uniqueName() })),
    );
    const left = await cache.leave(steps.map(step => leaveStep(step)));
    const tookMs = performance.now() - startedAt;
    await other.query('ROLLBACK');
    await other.end();

    expect(beside[2]).to.include({ code: '55P03' });
    expect(left[2]).to.include({ code: '55P03' });
    expect(beside.filter((_, i) => i !== 2).every(one => 'acquired' in one && one.acquired)).to.equal(true);
    expect(left.filter((_, i) => i !== 2).every(one => 'released' in one && one.released)).to.equal(true);
    expect(tookMs).to.be.below(5000);
  });

  it('deletes what has expired: all rows of a key, who has run, and lines that nobody has joined for a week', async () => {
    const schema = uniqueName('Locks').replaceAll('-', '_');
    const pool = await connect();
    const own = new PostgresCache(pool, { schema });
    const [dead, alive] = [acquireStep().storedKey, acquireStep().storedKey];
    const left = enterStep({ storedKey: alive, places: 3 });
    await own.enter([
      left,
      enterStep({ storedKey: alive, places: 3 }),
      enterStep({ storedKey: alive, places: 3, ttl: 1 }),
    ]);
    await own.leave([leaveStep(left)]);
    await own.enter([1, 2, 3].map(() => enterStep({ storedKey: dead, places: 3, ttl: 1 })));
    await own.enter([enterStep({ line: 'newest', ttl: 1 })]);
    for (const storedKey of [dead, alive]) {
      const holder = enterStep({ storedKey: `${storedKey} line`, line: 'all' });
      await own.enter([holder, ...['a', 'b'].map(owner => ({ ...holder, owner, token: owner }))]);
    }
    await pool.query(
      `UPDATE "${schema}".once_line SET since = now() - interval '8 days' WHERE key = $1 OR owner = 'a'`,
      [`${dead} line`],
    );
    await delay(20);

    await new PostgresCache(pool, { schema }).strikeOut([{ storedKey: 'k', owner: 'o' }]);

    const keysIn = async (table: string) =>
      (await pool.query(`SELECT key FROM "${schema}".${table} ORDER BY key`)).rows.map(({ key }) => key);
    expect(await keysIn('once_line')).to.deep.equal([`${alive} line`, `${alive} line`]);
    expect(await keysIn('once_last_run')).to.deep.equal([]);
    expect(new Set(await keysIn('once_lock'))).to.deep.equal(
      new Set([`${dead} line`, alive, `${alive} line`]),
    );
  });

  it('adds places to a table that a release without them created', async () => {
    const schema = uniqueName('Locks').replaceAll('-', '_');
    await admin.query(`
      CREATE SCHEMA "${schema}";
      CREATE TABLE "${schema}".once_lock (
        key text COLLATE "C" PRIMARY KEY, state text NOT NULL, token text NOT NULL, owner text NOT NULL,
        attempt bigint NOT NULL, fence bigint NOT NULL, since timestamptz NOT NULL, ttl bigint NOT NULL DEFAULT 0,
        expires timestamptz NOT NULL, grace bigint, awaited boolean NOT NULL DEFAULT false);
      INSERT INTO "${schema}".once_lock VALUES ('k', 'running', 't', 'o', 0, 1, now(), 9000, now() + interval '1 hour')`);
    const own = new PostgresCache(await connect(), { schema });

    expect(await enter(own, enterStep({ storedKey: 'k' }))).to.have.nested.property('record.owner', 'o');
    expect(await enter(own, enterStep({ storedKey: 'k', places: 2 }))).to.include({ acquired: true });
  });
});

async function enter(cache: LockCache, step: EnterStep): Promise<EnterResult> {
  const [result] = (await cache.enter?.([step])) ?? [];
  if (!result || result instanceof Error) throw result;
  return result;
}

/** On a slow machine a row may be locked for longer than a step waits for it. Then nothing was done. */
async function unlessLocked<Result>(act: () => Promise<Result>): Promise<Result> {
  for (;;) {
    try {
      return await act();
    } catch (error) {
      if ((error as { code?: string }).code !== '55P03') throw error;
    }
  }
}

async function leave(cache: LockCache, step: EnterStep) {
  const [result] = (await cache.leave?.([leaveStep(step)])) ?? [];
  if (!result || result instanceof Error) throw result;
  return result;
}

function leaveStep(step: EnterStep): LeaveStep {
  const { places, line } = step;
  return { ...releaseStep(step), places, line, rememberFor: 1 };
}
