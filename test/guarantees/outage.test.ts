/** Promises 5, 8 and 9 where the datastore does not answer. */

import { type Job, Queue } from 'bullmq';
import { expect } from 'chai';
import { Redis } from 'ioredis';
import pg from 'pg';
import { Lock, once, onceProcessor, RedisCache } from '../../src/index.ts';
import { PostgresCache } from '../../src/postgres.ts';
import { Bench } from '../support/bullmq.ts';
import { Child } from '../support/child.ts';
import { rejection, uniqueName, until } from '../support/index.ts';
import { PostgresServer } from '../support/postgres-server.ts';
import { RedisServer } from '../support/redis-server.ts';

describe('while Redis does not answer', () => {
  let server: RedisServer;
  const children: Child[] = [];
  const clients: Redis[] = [];
  beforeEach(async () => {
    server = await RedisServer.start();
  });
  afterEach(async () => {
    await Promise.all(children.splice(0).map(child => child.kill()));
    for (const client of clients.splice(0)) client.disconnect();
    await server.stop();
  });

  const connect = () => {
    const client = new Redis({ port: server.port, maxRetriesPerRequest: null });
    client.on('error', () => {});
    clients.push(client);
    return client;
  };
  /** The earliest time, in ms since the epoch, at which the lease can end. */
  const endOf = async (client: Redis, key: string) => {
    const before = Date.now();
    return before + (await client.pttl(key));
  };
  const outages = {
    'is frozen': { begin: async () => server.freeze(), end: async () => server.thaw() },
    'was killed': { begin: () => server.kill(), end: () => server.restart() },
  };

  for (const [how, outage] of Object.entries(outages)) {
    it(`the signal of a job aborts before its lease can have ended, and the process survives: Redis ${how}`, async () => {
      const queueName = uniqueName();
      const queue = new Queue(queueName, { connection: { port: server.port } });
      queue.on('error', () => {});
      const child = new Child('worker.ts', {
        connection: { port: server.port },
        queueName,
        options: { key: 'k', ttl: 3000 },
      });
      children.push(child);
      await child.hears('ready');
      const job = await queue.add('job', {});
      await child.hears('started');
      const end = await endOf(connect(), `bull:${queueName}::once:1:k`);

      await outage.begin();
      const aborted = await child.hears('aborted');
      child.tell({ finish: job.id });
      await child.hears('finishing');
      await outage.end();
      const next = await queue.add('job', {});
      await child.hears('started', next.id);

      expect(aborted).to.include({ code: 'ERR_LOCK_LOST', why: 'unreachable' });
      expect(aborted.at).to.be.below(end);
      expect(child.alive).to.equal(true);
      expect(child.told.filter(({ event }) => event === 'unhandled')).to.deep.equal([]);
      child.tell({ finish: next.id });
      await child.kill();
      await queue.close();
    });

    it(`the signal of a Lock aborts before its lease can have ended: Redis ${how}`, async () => {
      const key = uniqueName();
      const child = new Child('lock-holder.ts', { port: server.port, key, options: { ttl: 3000 } });
      children.push(child);
      await child.hears('held');
      const end = await endOf(connect(), `once:1:default:${key}`);

      await outage.begin();
      const aborted = await child.hears('aborted');
      const released = await child.hears('released');

      expect(aborted).to.include({ why: 'unreachable', held: false });
      expect(aborted.at).to.be.below(end);
      expect(released.was).to.equal(false);
      expect(child.told.filter(({ event }) => event === 'unhandled')).to.deep.equal([]);
      await outage.end();
    });
  }

  it('a Lock can be neither had nor refused: the claim fails, and is let go of when it lands late', async () => {
    const client = connect();
    await client.ping();
    const cache = new RedisCache(client);
    server.freeze();

    const error = await rejection(new Lock('k', { cache, ttl: 500 }).acquire());
    server.thaw();
    // The late claim and its release were sent before this, and are executed before it.
    const stored = await client.get('once:1:default:k');

    expect(error).to.include({ code: 'ERR_LOCK_CACHE', key: 'k' });
    expect(error.message).to.match(/did not answer in time/);
    expect(stored).to.equal(null);
  });

  it('a guarded function does not run', async () => {
    const cache = new RedisCache(connect());
    let runs = 0;
    server.freeze();

    const error = await rejection(once(() => runs++, { key: 'k', cache, ttl: 300 })());
    server.thaw();

    expect(error).to.include({ code: 'ERR_LOCK_CACHE' });
    expect(runs).to.equal(0);
  });

  describe('which keeps the locks of a queue that is elsewhere', () => {
    let bench: Bench;
    beforeEach(async () => {
      bench = await Bench.open();
    });
    afterEach(() => bench.close());

    const guardedWorker = async (options: object = {}) => {
      const failures: Error[] = [];
      let runs = 0;
      const cache = new RedisCache(connect());
      const worker = await bench.worker(
        onceProcessor(async (_job: Job) => ++runs, { key: 'k', cache, ttl: 500, ...options }),
      );
      worker.on('failed', (_job, error) => failures.push(error));
      return { failures, runs: () => runs };
    };
    const withRetries = { attempts: 1000, backoff: { type: 'fixed', delay: 50 } };

    it('a job fails with that error, is not run, and is retried by BullMQ', async () => {
      const { failures, runs } = await guardedWorker();
      server.freeze();

      const job = await bench.add({}, withRetries);
      await until(() => failures.length === 2);
      const runsMeanwhile = runs();
      server.thaw();

      expect(await bench.result(job)).to.equal(1);
      expect(runsMeanwhile).to.equal(0);
      expect(failures[0]).to.include({ code: 'ERR_LOCK_CACHE', key: 'k' });
    });

    it('a job fails where Redis refuses to write: out of memory, or a replica', async () => {
      const { failures, runs } = await guardedWorker({ keepFor: 0 });
      const admin = connect();
      for (const [refuse, allow, message] of [
        [['config', 'set', 'maxmemory', '1'], ['config', 'set', 'maxmemory', '0'], /OOM/],
        [['replicaof', '127.0.0.1', '1'], ['replicaof', 'no', 'one'], /READONLY/],
      ] as const) {
        const ranBefore = runs();
        failures.length = 0;
        await admin.call(refuse[0], ...refuse.slice(1));
        const job = await bench.add({}, withRetries);
        await until(() => failures.length > 0);
        const runsMeanwhile = runs() - ranBefore;
        await admin.call(allow[0], ...allow.slice(1));

        expect(await bench.result(job)).to.equal(ranBefore + 1);
        expect(runsMeanwhile).to.equal(0);
        expect(failures[0]).to.include({ code: 'ERR_LOCK_CACHE' });
        expect(failures[0]?.message).to.match(message);
      }
    });

    it('finished work stays finished though its release fails', async () => {
      const admin = connect();
      await bench.worker(
        onceProcessor(
          async () => {
            server.freeze();
            return 'finished';
          },
          { key: 'k', cache: new RedisCache(connect()), ttl: 1000 },
        ),
      );
      await admin.ping();

      expect(await bench.result(await bench.add({}))).to.equal('finished');
      server.thaw();
    });

    it("the processor's own error wins over a release that fails", async () => {
      await bench.worker(
        onceProcessor(
          async () => {
            server.freeze();
            throw new Error('own error');
          },
          { key: 'k', cache: new RedisCache(connect()), ttl: 1000 },
        ),
      );

      expect(await bench.failure(await bench.add({}))).to.equal('own error');
      server.thaw();
    });
  });
});

describe('while PostgreSQL is down', () => {
  it('the signal of a Lock aborts before its lease can have ended, and a claim fails', async () => {
    const server = await PostgresServer.start();
    const pool = new pg.Pool({ connectionString: server.url });
    pool.on('error', () => {});
    const cache = new PostgresCache(pool);
    const lock = new Lock('k', { cache, ttl: 3000 });
    await lock.acquire();
    const aborted = new Promise<number>(resolve => {
      lock.signal.addEventListener('abort', () => resolve(performance.now()));
    });

    await server.stop();
    const stoppedAt = performance.now();
    const refused = await rejection(new Lock('other', { cache }).tryAcquire());
    const abortedAt = await aborted;

    expect(refused).to.include({ code: 'ERR_LOCK_CACHE', key: 'other' });
    expect((refused.cause as Error & { code: string }).code).to.equal('ECONNREFUSED');
    expect(lock.signal.reason).to.include({ code: 'ERR_LOCK_LOST', why: 'unreachable' });
    expect(abortedAt - stoppedAt).to.be.below(3000);
    await pool.end();
  });
});
