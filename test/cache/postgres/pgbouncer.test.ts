/** Locks behind PgBouncer, which gives a server's connection to another client after each transaction. */

import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import pg from 'pg';
import type { EnterStep } from '../../../src/cache/contract.ts';
import { PostgresCache } from '../../../src/cache/postgres/postgres-cache.ts';
import { enterStep } from '../../../src/conformance/lines.ts';
import { Lock } from '../../../src/lock/lock.ts';
import { uniqueName, until } from '../../support/index.ts';
import { PgBouncer, type PoolMode } from '../../support/pgbouncer.ts';
import { sharedPostgres } from '../../support/shared-servers.ts';
import { acquire, acquireStep, releaseStep, renewStep } from '../../support/steps.ts';

/** A waiter that is not notified asks every half second. The rest is for a busy machine. */
const MAX_PAUSE_MS = 1000;
/** Longer than a waiter takes to ask as seldom as it ever does. */
const SETTLED_MS = 1500;

for (const mode of ['transaction', 'statement', 'session'] as const satisfies readonly PoolMode[]) {
  describe(`A PostgresCache behind a PgBouncer in ${mode} mode`, () => {
    const notifies = mode === 'session';
    let bouncer: PgBouncer;
    let pool: pg.Pool;
    let cache: PostgresCache;
    before(async () => {
      bouncer = await PgBouncer.start((await sharedPostgres()).port, mode);
      pool = new pg.Pool({ connectionString: bouncer.url, max: 4 });
      pool.on('error', () => {});
      cache = new PostgresCache(pool);
    });
    after(async () => {
      await pool.end();
      await bouncer.stop();
    });

    it('creates its table, acquires, refuses, renews, lists and releases', async () => {
      const schema = uniqueName('Locks').replaceAll('-', '_');
      const own = new PostgresCache(pool, { schema });
      const step = acquireStep({ storedKey: `once::1:default:${uniqueName()}` });

      const acquired = await acquire(own, step);
      const refused = await acquire(own, acquireStep({ storedKey: step.storedKey }));
      const renewed = await own.renew([renewStep(step)]);
      const listed = [];
      for await (const { storedKey } of own.list('once::1:')) listed.push(storedKey);
      const released = await own.release([releaseStep(step)]);

      expect([acquired.acquired, refused.acquired]).to.deep.equal([true, false]);
      expect([renewed, listed, released]).to.deep.equal([[true], [step.storedKey], [true]]);
    });

    it('gives three places to forty entries at once, and parks the others in a line', async () => {
      const { storedKey } = acquireStep();
      const steps = Array.from({ length: 40 }, () => enterStep({ storedKey, places: 3, line: 'all' }));

      const results = (await Promise.all(steps.map(step => cache.enter([step])))).flat();
      const holder = steps[results.findIndex(one => 'acquired' in one && one.acquired)] as EnterStep;
      const [line] = await cache.lines([{ storedKey, owner: holder.owner }]);
      const leaving = { ...releaseStep(holder), places: 3, line: 'all', rememberFor: 0 } as const;

      expect(results.filter(one => 'acquired' in one && one.acquired)).to.have.length(3);
      expect(line).to.include({ held: 3, parked: 37, holds: true });
      expect(await cache.leave([leaving])).to.deep.equal([{ released: true, next: line?.head }]);
      expect(await cache.strikeOut([{ storedKey, owner: `${line?.head}` }])).to.deep.equal([true]);
    });

    it('keeps exclusion between forty acquisitions at once', async () => {
      const { storedKey } = acquireStep();

      const results = await Promise.all(
        Array.from({ length: 40 }, () => acquire(cache, acquireStep({ storedKey }))),
      );

      expect(results.filter(({ acquired }) => acquired)).to.have.length(1);
    });

    it(`serves each waiter within ${MAX_PAUSE_MS} ms of the release`, async () => {
      const served: number[] = [];
      const rounds = Array.from({ length: 5 }, async () => {
        const key = uniqueName('k');
        const holder = await new Lock(key, { cache }).acquire();
        const waiting = new Lock(key, { cache }).acquire({ waitFor: 30_000 });
        await delay(SETTLED_MS);
        const releasedAt = performance.now();
        await holder.release();
        const handle = await waiting;
        served.push(performance.now() - releasedAt);
        await handle.release();
      });
      await Promise.all(rounds);

      expect(Math.max(...served), served.join(', ')).to.be.below(MAX_PAUSE_MS);
    });

    it(`${notifies ? 'is' : 'is not'} listening to releases`, async () => {
      let notified = 0;
      const step = acquireStep();
      await acquire(cache, step);
      const listener = cache.listen(step.storedKey, () => notified++);
      if (notifies) await until(() => listener.isListening);
      // Long enough for several probes to be sent and lost.
      const answers: boolean[] = [];
      for (let i = 0; i < 40; i++) {
        await delay(50);
        answers.push(listener.isListening);
      }
      await acquire(cache, acquireStep({ storedKey: step.storedKey, notify: true }));
      const before = notified;
      await cache.release([releaseStep(step)]);
      if (notifies) await until(() => notified > before);
      listener.stop();

      expect(new Set(answers)).to.deep.equal(new Set([notifies]));
    });

    it('serves the waiters of two processes, and none is forgotten', async () => {
      const key = uniqueName('k');
      // Caches of two pools have waiters in two queues, as those of two processes.
      const pools = [1, 2].map(
        i => new pg.Pool({ connectionString: `${bouncer.url}?application_name=p${i}`, max: 2 }),
      );
      const holder = await new Lock(key, { cache }).acquire();
      let running = 0;
      let most = 0;
      const waits = pools.flatMap(own => {
        const lock = new Lock(key, { cache: new PostgresCache(own) });
        return Array.from({ length: 4 }, () =>
          lock.run(
            async () => {
              most = Math.max(most, ++running);
              await delay(2);
              running--;
            },
            { waitFor: 30_000 },
          ),
        );
      });
      await delay(300);

      await holder.release();
      await Promise.all(waits);

      expect(most).to.equal(1);
      await Promise.all(pools.map(own => own.end()));
    });
  });
}
