/** A release that fails is sent again for as long as the lease is safe: a dropped connection leaves no key held. */

import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import pg from 'pg';
import { Lock, type LockCache, type LockEvent, type LockHandle } from '../../src/index.ts';
import { PostgresCache } from '../../src/postgres.ts';
import { TcpProxy } from '../faults/tcp-proxy.ts';
import { uniqueName, until } from '../support/index.ts';
import { RedisServer } from '../support/redis-server.ts';
import { sharedPostgres } from '../support/shared-servers.ts';
import { CLIENTS, type OpenClient, openIoredis } from './redis-clients.ts';

const LOCKS = 20;
/** A key that is not released stays held for far longer than a test waits. */
const TTL = 40_000;
/** A release without an answer is sent again after a twelfth of its ttl. */
const SOON = TTL / 6;
/** For how long connections are dropped as soon as they are open. */
const OUTAGE_MS = 800;

for (const [name, open] of Object.entries(CLIENTS)) {
  describe(`A release by ${name}`, () => {
    let server: RedisServer;
    let proxy: TcpProxy;
    let client: OpenClient;
    let events: LockEvent[];
    let handles: readonly LockHandle[];
    before(async () => {
      server = await RedisServer.start();
    });
    after(() => server.stop());
    beforeEach(async () => {
      await server.call('FLUSHALL');
      proxy = await TcpProxy.start(server.port);
      client = await open(proxy.port);
      events = [];
      handles = await acquireAll(client.cache, event => events.push(event));
    });
    afterEach(async () => {
      proxy.repair();
      await client.close();
      await proxy.stop();
    });

    const held = async () => ((await server.call('KEYS', 'once::1:*')) as string[]).length;
    const lost = () => events.filter(({ type }) => type === 'lost').length;

    const cuts: Readonly<Record<string, (release: () => void) => void>> = {
      'before they are sent'(release) {
        proxy.cut();
        release();
      },
      'when they are sent'(release) {
        release();
        setImmediate(() => proxy.cut());
      },
      'when they may have been executed'(release) {
        release();
        setTimeout(() => proxy.cut(), 2);
      },
    };
    for (const [when, cut] of Object.entries(cuts)) {
      it(`leaves none of twenty keys held (the connection is cut ${when})`, async () => {
        let released: Promise<unknown> = Promise.resolve();
        cut(() => {
          released = Promise.all(handles.map(handle => handle.release()));
        });

        await until(async () => (await held()) === 0, 'all keys are free', SOON);
        await released;
        expect(lost()).to.equal(0);
      });
    }

    it(`leaves none held after an outage of ${OUTAGE_MS} ms`, async () => {
      const outage = setInterval(() => proxy.cut(), 5);
      proxy.cut();
      const released = Promise.all(handles.map(handle => handle.release()));
      await delay(OUTAGE_MS);
      clearInterval(outage);

      await until(async () => (await held()) === 0, 'all keys are free', SOON + OUTAGE_MS);
      await released;
      expect(lost()).to.equal(0);
    });

    it('releases its own acquisitions and no later ones, though it is sent again (the replies are lost)', async () => {
      proxy.loseReplies();
      const released = Promise.all(handles.map(handle => handle.release()));
      await until(async () => (await held()) === 0, 'all keys are free', SOON);
      const direct = await openIoredis()(server.port);
      const next = await Promise.all(
        handles.map(({ key }) => new Lock(key, { cache: direct.cache, ttl: TTL }).acquire()),
      );

      proxy.repair();
      await Promise.race([released, delay(SOON)]);

      expect(await held()).to.equal(LOCKS);
      // ioredis sends again by itself what had no answer, and the second answer is a plain "no".
      if (!name.startsWith('ioredis')) expect(lost()).to.equal(0);
      const stillHeld = await Promise.all(next.map(handle => handle.release()));
      expect(stillHeld).to.deep.equal(stillHeld.map(() => true));
      direct.close();
    });
  });
}

describe('A release in PostgreSQL', () => {
  let admin: pg.Pool;
  let pool: pg.Pool;
  let cache: PostgresCache;
  let events: LockEvent[];
  const application = uniqueName('victim');
  before(async () => {
    const { url } = await sharedPostgres();
    admin = new pg.Pool({ connectionString: url });
    pool = new pg.Pool({ connectionString: url, application_name: application });
    pool.on('error', () => {});
    cache = new PostgresCache(pool);
  });
  after(async () => {
    await pool.end();
    await admin.end();
  });
  beforeEach(() => {
    events = [];
  });

  const terminate = () =>
    admin.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1', [
      application,
    ]);

  it('resolves when the key is free, and not before (the backends are terminated again and again)', async () => {
    const handles = await acquireAll(cache, event => events.push(event));
    let isOver = false;
    const terminating = (async () => {
      while (!isOver) await terminate();
    })();
    const released = Promise.all(
      handles.map(async handle => {
        await handle.release();
        return (
          await admin.query('SELECT 1 FROM bullmq.once_lock WHERE key = $1', [
            `once::1:default:${handle.key}`,
          ])
        ).rowCount;
      }),
    );
    await delay(300);
    isOver = true;
    await terminating;

    expect(await released).to.deep.equal(handles.map(() => 0));
  });
});

describe('A release that can not succeed', () => {
  it('is not waited for longer than the lease is safe, and harms nothing (the server is gone)', async () => {
    const server = await RedisServer.start();
    const client = await openIoredis()(server.port);
    const handle = await new Lock('k', { cache: client.cache, ttl: 900 }).acquire();
    await server.stop();
    const startedAt = performance.now();

    const released = await handle.release();

    expect(released).to.equal(false);
    expect(performance.now() - startedAt, 'ms').to.be.below(3000);
    client.close();
  });
});

function acquireAll(cache: LockCache, onEvent: (event: LockEvent) => void): Promise<LockHandle[]> {
  return Promise.all(
    Array.from({ length: LOCKS }, () => new Lock(uniqueName('k'), { cache, ttl: TTL, onEvent }).acquire()),
  );
}
