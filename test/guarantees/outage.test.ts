/** Guarantees 5, 8 and 9 where the datastore does not answer. */

import { setTimeout as delay } from 'node:timers/promises';
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

/** Long enough for a process of a loaded machine to notice its end in time. */
const TTL = 3000;

const OUTAGES: Readonly<Record<string, Outage>> = {
  frozen: { begin: async server => server.freeze(), end: async server => server.thaw() },
  killed: { begin: server => server.kill(), end: server => server.restart() },
};

interface Outage {
  begin(server: RedisServer): Promise<void>;
  end(server: RedisServer): Promise<void>;
}

describe('A process that holds locks while Redis does not answer', () => {
  const played = new Map<string, Played>();
  // The outages are played at the same time, since most of it is waiting.
  before(async () => {
    await Promise.all(
      Object.entries(OUTAGES).map(async ([how, outage]) => played.set(how, await play(outage))),
    );
  });
  after(() => Promise.all([...played.values()].map(({ close }) => close())));

  for (const how of Object.keys(OUTAGES)) {
    it(`aborts the signal of a job before its lease can have ended (Redis is ${how})`, () => {
      const { aborted, end } = (played.get(how) as Played).job;

      expect(aborted).to.include({ code: 'ERR_LOCK_LOST', reason: 'unreachable' });
      expect(aborted.at).to.be.below(end);
    });

    it(`aborts the signal of a Lock before its lease can have ended (Redis is ${how})`, () => {
      const { aborted, released, end } = (played.get(how) as Played).lock;

      expect(aborted).to.include({ reason: 'unreachable', held: false });
      expect(aborted.at).to.be.below(end);
      expect(released.was).to.equal(false);
    });

    it(`survives, and runs the next job when Redis is back (Redis is ${how})`, () => {
      const { worker, holder, next } = played.get(how) as Played;

      expect(next).to.include({ event: 'started' });
      for (const child of [worker, holder]) {
        expect(child.alive).to.equal(true);
        expect(child.messagesOf('unhandled')).to.deep.equal([]);
      }
    });
  }
});

interface Loss {
  readonly aborted: Message;
  /** The earliest time, in ms since the epoch, at which the lease can end. */
  readonly end: number;
}
type Message = Awaited<ReturnType<Child['message']>>;

interface Played {
  readonly worker: Child;
  readonly holder: Child;
  readonly job: Loss;
  readonly lock: Loss & { readonly released: Message };
  /** The first message of a job that was added after the outage. */
  readonly next: Message;
  close(): Promise<void>;
}

/** Lets a worker hold the lock of a job, and another process a lock, and then lets Redis have an outage. */
async function play(outage: Outage): Promise<Played> {
  const server = await RedisServer.start();
  const [queueName, key] = [uniqueName('queue'), uniqueName('lock')];
  const queue = new Queue(queueName, { connection: { port: server.port } });
  queue.on('error', () => {});
  const connection = { port: server.port };
  const worker = new Child('worker.ts', { connection, queueName, options: { key: 'k', ttl: TTL } });
  const holder = new Child('lock-holder.ts', { ...connection, key, options: { ttl: TTL } });
  await Promise.all([worker.message('ready'), holder.message('held')]);
  const job = await queue.add('job', {});
  await worker.message('started');
  const [endOfJob, endOfLock] = await endsOf(server, `bull::once:1:${queueName}:k`, `once::1:default:${key}`);

  await outage.begin(server);
  const [ofJob, ofLock] = await Promise.all([worker.message('aborted'), holder.message('aborted')]);
  const released = await holder.message('released');
  worker.send({ finish: job.id });
  await worker.message('finishing');
  await outage.end(server);
  const added = await queue.add('job', {});
  const next = await worker.message('started', added.id);

  return {
    worker,
    holder,
    job: { aborted: ofJob, end: endOfJob },
    lock: { aborted: ofLock, released, end: endOfLock },
    next,
    async close() {
      await Promise.all([worker.kill(), holder.kill()]);
      await queue.close();
      await server.stop();
    },
  };
}

/** When two leases end, in ms since the epoch, at a moment when neither is about to be renewed. */
async function endsOf(server: RedisServer, ...storedKeys: [string, string]): Promise<[number, number]> {
  for (;;) {
    const now = Date.now();
    const [one, other] = await Promise.all(
      storedKeys.map(async storedKey => Number(await server.call('PTTL', storedKey))),
    );
    // A lease is renewed when a third of its ttl has passed.
    if (Math.min(one as number, other as number) > TTL * 0.75) {
      return [now + (one as number), now + (other as number)];
    }
    await delay(20);
  }
}

describe('While Redis does not answer', () => {
  let server: RedisServer;
  const clients: Redis[] = [];
  before(async () => {
    server = await RedisServer.start();
  });
  afterEach(() => {
    server.thaw();
    for (const client of clients.splice(0)) client.disconnect();
  });
  after(() => server.stop());

  /** A cache that is connected. */
  const connect = async () => {
    const client = new Redis({ port: server.port, maxRetriesPerRequest: null });
    client.on('error', () => {});
    clients.push(client);
    await client.ping();
    return client;
  };

  it('a Lock is neither acquired nor refused', async () => {
    const cache = new RedisCache(await connect());
    server.freeze();

    const error = await rejection(new Lock(uniqueName(), { cache, ttl: 300 }).acquire());

    expect(error).to.include({ code: 'ERR_LOCK_CACHE' });
    expect(error.message).to.match(/did not answer in time/);
  });

  it('a Lock whose acquisition succeeds after its timeout is released', async () => {
    const client = await connect();
    const key = uniqueName();
    server.freeze();
    await rejection(new Lock(key, { cache: new RedisCache(client), ttl: 300 }).acquire());

    server.thaw();
    // The late acquisition and its release were sent before this, and are executed before it.
    const stored = await client.get(`once::1:default:${key}`);

    expect(stored).to.equal(null);
  });

  it('a guarded function does not run', async () => {
    const cache = new RedisCache(await connect());
    let runs = 0;
    server.freeze();

    const error = await rejection(once(() => runs++, { key: uniqueName(), cache, ttl: 300 })());

    expect(error).to.include({ code: 'ERR_LOCK_CACHE' });
    expect(runs).to.equal(0);
  });

  describe('which has the locks of a queue that is elsewhere', () => {
    let bench: Bench;
    let key: string;
    beforeEach(async () => {
      bench = await Bench.open();
      key = uniqueName();
    });
    afterEach(() => bench.close());

    const guardedWorker = async () => {
      const failures: Error[] = [];
      let runs = 0;
      const cache = new RedisCache(await connect());
      const worker = await bench.worker(onceProcessor(async (_job: Job) => ++runs, { key, cache, ttl: 300 }));
      worker.on('failed', (_job, error) => failures.push(error));
      return { failures, runs: () => runs };
    };
    const withRetries = { attempts: 1000, backoff: { type: 'fixed', delay: 50 } };

    it('a job fails with that error, does not run, and is retried by BullMQ', async () => {
      const { failures, runs } = await guardedWorker();
      server.freeze();

      const job = await bench.add({}, withRetries);
      await until(() => failures.length === 2);
      const runsMeanwhile = runs();
      server.thaw();

      expect(await bench.result(job)).to.equal(1);
      expect(runsMeanwhile).to.equal(0);
      expect(failures[0]).to.include({ code: 'ERR_LOCK_CACHE', key });
    });

    for (const [why, refuse, allow, message] of [
      ['out of memory', ['config', 'set', 'maxmemory', '1'], ['config', 'set', 'maxmemory', '0'], /OOM/],
      ['a replica', ['replicaof', '127.0.0.1', '1'], ['replicaof', 'no', 'one'], /READONLY/],
    ] as const) {
      it(`a job fails with that error, does not run, and is retried by BullMQ (Redis refuses to write: ${why})`, async () => {
        const { failures, runs } = await guardedWorker();
        await server.call(refuse[0], ...refuse.slice(1));

        const job = await bench.add({}, withRetries);
        await until(() => failures.length > 0);
        const runsMeanwhile = runs();
        await server.call(allow[0], ...allow.slice(1));

        expect(await bench.result(job)).to.equal(1);
        expect(runsMeanwhile).to.equal(0);
        expect(failures[0]).to.include({ code: 'ERR_LOCK_CACHE' });
        expect(failures[0]?.message).to.match(message);
      });
    }

    it('work that has finished stays finished (its release fails)', async () => {
      const cache = new RedisCache(await connect());
      await bench.worker(
        onceProcessor(
          async () => {
            server.freeze();
            return 'finished';
          },
          { key, cache, ttl: 500 },
        ),
      );

      expect(await bench.result(await bench.add({}))).to.equal('finished');
    });

    it("the processor's own error comes out (its release fails too)", async () => {
      const cache = new RedisCache(await connect());
      await bench.worker(
        onceProcessor(
          async () => {
            server.freeze();
            throw new Error('own error');
          },
          { key, cache, ttl: 500 },
        ),
      );

      expect(await bench.failure(await bench.add({}))).to.equal('own error');
    });
  });
});

describe('While PostgreSQL is down', () => {
  let refused: Error & { readonly [field: string]: unknown };
  let handle: Awaited<ReturnType<Lock['acquire']>>;
  let lostAfter: number;
  before(async () => {
    const server = await PostgresServer.start();
    const pool = new pg.Pool({ connectionString: server.url });
    pool.on('error', () => {});
    const cache = new PostgresCache(pool);
    handle = await new Lock('k', { cache, ttl: TTL }).acquire();
    const aborted = new Promise<number>(resolve => {
      handle.signal.addEventListener('abort', () => resolve(performance.now()));
    });

    await server.stop();
    const stoppedAt = performance.now();
    refused = await rejection(new Lock('other', { cache }).tryAcquire());
    lostAfter = (await aborted) - stoppedAt;
    await pool.end();
  });

  it('the signal of a Lock aborts before its lease can have ended', () => {
    expect(handle.signal.reason).to.include({ code: 'ERR_LOCK_LOST', reason: 'unreachable' });
    expect(lostAfter).to.be.below(TTL);
  });

  it('a Lock is neither acquired nor refused', () => {
    expect(refused).to.include({ code: 'ERR_LOCK_CACHE', key: 'other' });
    // A connection of the pool may not have noticed yet that its server is gone.
    const { code, message } = refused.cause as Error & { readonly code?: string };
    expect(`${code} ${message}`).to.match(/ECONNREFUSED|Connection terminated/);
  });
});
