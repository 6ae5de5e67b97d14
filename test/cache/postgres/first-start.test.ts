/** The first start on an empty database: our migration runs beside BullMQ's, and beside itself. */

import { createPostgresBackend, type Queue, type Worker, withBackend } from 'bullmq';
import { expect } from 'chai';
import pg from 'pg';
import { onceProcessor } from '../../../src/index.ts';
import { migration, PostgresCache } from '../../../src/postgres.ts';
import { uniqueName, until } from '../../support/index.ts';
import { sharedPostgres } from '../../support/shared-servers.ts';
import { acquire, acquireStep } from '../../support/steps.ts';

const ROUNDS = 20;

const OnPostgres = withBackend(createPostgresBackend) as never as {
  Queue: typeof Queue;
  Worker: typeof Worker;
};

interface Starter {
  start(): Promise<unknown>;
  close(): Promise<unknown>;
}

describe('The first start on an empty database', () => {
  let admin: pg.Pool;
  before(async () => {
    admin = new pg.Pool({ connectionString: (await sharedPostgres()).url });
  });
  after(() => admin.end());

  async function emptyDatabase(): Promise<string> {
    const name = uniqueName('empty').replaceAll('-', '_');
    await admin.query(`CREATE DATABASE ${name}`);
    const url = new URL((await sharedPostgres()).url);
    url.pathname = name;
    return url.href;
  }

  /** Starts all in the same moment. @returns the errors of those that failed, by their place. */
  async function failuresOf(starters: readonly Starter[]): Promise<string[]> {
    const started = await Promise.allSettled(starters.map(one => one.start()));
    await Promise.all(starters.map(one => one.close()));
    return started.flatMap((one, i) => (one.status === 'rejected' ? [`${i}: ${one.reason}`] : []));
  }

  function queue(connectionString: string, schema = 'bullmq'): Starter {
    const queue = new OnPostgres.Queue('emails', {
      connection: { connectionString, schema, migrate: true } as never,
    });
    queue.on('error', () => {});
    return { start: () => queue.add('job', {}), close: () => queue.close() };
  }

  function cache(connectionString: string, schema = 'bullmq'): Starter {
    const pool = new pg.Pool({ connectionString });
    const cache = new PostgresCache(pool, { schema });
    return { start: () => acquire(cache, acquireStep()), close: () => pool.end() };
  }

  function migrated(connectionString: string, schema = 'bullmq'): Starter {
    const pool = new pg.Pool({ connectionString });
    return { start: () => pool.query(migration({ schema })), close: () => pool.end() };
  }

  /** It fails where it comes second, as it says no "IF NOT EXISTS". */
  function foreign(connectionString: string): Starter {
    const pool = new pg.Pool({ connectionString });
    return { start: () => pool.query('CREATE SCHEMA bullmq').catch(() => {}), close: () => pool.end() };
  }

  it(`succeeds for two queues and two caches that start in the same moment (${ROUNDS} times)`, async () => {
    const failures: string[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const url = await emptyDatabase();
      failures.push(...(await failuresOf([queue(url), cache(url), queue(url), cache(url)])));
    }

    expect(failures).to.deep.equal([]);
  }).timeout(180_000);

  it('succeeds for queues, caches, and migrations that are run by hand', async () => {
    const failures: string[] = [];
    for (let round = 0; round < ROUNDS / 4; round++) {
      const url = await emptyDatabase();
      const starters = [migrated(url), cache(url), queue(url), migrated(url), queue(url), cache(url)];
      failures.push(...(await failuresOf(starters)));
    }

    expect(failures).to.deep.equal([]);
  });

  it('succeeds in schemas whose names need quotes, in two schemas at once', async () => {
    const failures: string[] = [];
    for (let round = 0; round < ROUNDS / 4; round++) {
      const url = await emptyDatabase();
      const starters = ['Locks_A', 'locks_a'].flatMap(schema => [
        cache(url, schema),
        queue(url, schema),
        cache(url, schema),
      ]);
      failures.push(...(await failuresOf(starters)));
    }

    expect(failures).to.deep.equal([]);
  });

  it('succeeds beside a migration of somebody else who creates the same schema and takes no lock', async () => {
    const failures: string[] = [];
    for (let round = 0; round < ROUNDS / 4; round++) {
      const url = await emptyDatabase();
      failures.push(...(await failuresOf([foreign(url), cache(url), cache(url), foreign(url)])));
    }

    expect(failures).to.deep.equal([]);
  });

  it('keeps exclusion between caches that create the table in the same moment', async () => {
    const url = await emptyDatabase();
    const pools = Array.from({ length: 8 }, () => new pg.Pool({ connectionString: url, max: 2 }));
    const { storedKey } = acquireStep();

    const results = await Promise.all(
      pools.map(pool => acquire(new PostgresCache(pool), acquireStep({ storedKey }))),
    );
    await Promise.all(pools.map(pool => pool.end()));

    expect(results.filter(({ acquired }) => acquired)).to.have.length(1);
  });

  it('lets a guarded worker run its first jobs, one at a time', async () => {
    const url = await emptyDatabase();
    const connection = { connectionString: url, migrate: true } as never;
    const queue = new OnPostgres.Queue('emails', { connection });
    let running = 0;
    let most = 0;
    const failures: string[] = [];
    const guarded = onceProcessor(
      async () => {
        most = Math.max(most, ++running);
        await new Promise(resolve => setTimeout(resolve, 5));
        running--;
      },
      { key: 'k', whenLocked: { waitFor: 20_000 }, raiseIfLock: true },
    );
    const workers = [1, 2].map(
      () => new OnPostgres.Worker('emails', guarded, { connection, concurrency: 3 }),
    );
    let completed = 0;
    for (const worker of workers) {
      worker.on('error', () => {});
      worker.on('completed', () => completed++);
      worker.on('failed', (_job, error) => failures.push(error.message));
    }
    await queue.addBulk(Array.from({ length: 12 }, () => ({ name: 'job', data: {} })));

    await until(() => completed + failures.length === 12);
    await Promise.all(workers.map(worker => worker.close()));
    await queue.close();

    expect({ completed, failures, most }).to.deep.equal({ completed: 12, failures: [], most: 1 });
  });
});
