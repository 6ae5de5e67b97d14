/** The calls of a pool of connections overtake each other: jobs are parked in their order all the same. */

import { setTimeout as delay } from 'node:timers/promises';
import type { Job } from 'bullmq';
import { expect } from 'chai';
import pg from 'pg';
import { type EnterResult, type EnterStep, onceProcessor } from '../../src/index.ts';
import { PostgresCache } from '../../src/postgres.ts';
import { Bench } from '../support/bullmq.ts';
import { uniqueName, until } from '../support/index.ts';
import { sharedPostgres } from '../support/shared-servers.ts';

/** The call for the first job is slow: its connection had to be opened, say. */
class SlowAtFirst extends PostgresCache {
  calls = 0;

  override async enter(steps: readonly EnterStep[]): Promise<(EnterResult | Error)[]> {
    if (this.calls++ === 0) await delay(200);
    return super.enter(steps);
  }
}

describe('Jobs in order whose key is kept in PostgreSQL', () => {
  it('run in their order, though the call of the first takes longer than that of the next', async () => {
    const { url } = await sharedPostgres();
    const pool = new pg.Pool({ connectionString: url });
    const cache = new SlowAtFirst(pool);
    const bench = await Bench.open();
    const ran: unknown[] = [];
    const processor = onceProcessor((job: Job) => ran.push(job.id), {
      key: uniqueName('k'),
      whenLocked: 'in-order',
      cache,
    });
    await bench.worker(processor, { concurrency: 5 });

    const first = await bench.add({});
    await until(() => cache.calls === 1);
    const second = await bench.add({});
    for (const job of [first, second]) await bench.ended(job);
    await bench.close();
    await pool.end();

    expect(ran).to.deep.equal([first.id, second.id]);
  });
});
