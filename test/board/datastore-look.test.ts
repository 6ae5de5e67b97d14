import { request } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import { Queue } from 'bullmq';
import { expect } from 'chai';
import type { Redis } from 'ioredis';
import { createBoard } from '../../src/board.ts';
import { RedisCache } from '../../src/index.ts';
import { queueName } from '../../src/key/stored-name.ts';
import { connectRedis, until } from '../support/index.ts';
import { RedisServer } from '../support/redis-server.ts';
import { askForceRelease, shownBy, withBoard } from './served-board.ts';

/** What BullMQ has stored besides. */
const OTHER_KEYS = 100_000;
const POPULATE = "for i = 1, ARGV[1] do redis.call('SET', 'bull:q0:' .. i, 'x') end";

describe('the looks of a board at a datastore', () => {
  let server: RedisServer;
  let redis: Redis;
  let queues: Queue[];
  /** How many commands one look at all names takes. */
  let scansOfALook: number;
  beforeEach(async () => {
    server = await RedisServer.start();
    redis = connectRedis({ host: '127.0.0.1', port: server.port });
    await redis.eval(POPULATE, 0, OTHER_KEYS);
    queues = Array.from(
      { length: 5 },
      (_, i) => new Queue(`q${i}`, { connection: { host: '127.0.0.1', port: server.port } }),
    );
    await Promise.all(queues.map(queue => queue.waitUntilReady()));
    const steps = queues.map(({ qualifiedName }) => ({
      storedKey: queueName(qualifiedName, 'k'),
      token: qualifiedName,
      owner: `${qualifiedName}:1@1`,
      attempt: 1,
      ttl: 60_000,
    }));
    await new RedisCache(redis).acquire(steps);
    for await (const _ of new RedisCache(redis).list(''));
    scansOfALook = await scans();
    await redis.config('RESETSTAT');
  });
  afterEach(async () => {
    await Promise.all(queues.map(queue => queue.close()));
    redis.disconnect();
    await server.stop();
  });

  async function scans(): Promise<number> {
    const stats = await redis.info('commandstats');
    return Number(/cmdstat_scan:calls=(\d+)/.exec(stats)?.[1] ?? 0);
  }

  it('are one for all queues and all viewers, and for a second and a half', async () => {
    await withBoard({ queues }, async url => {
      const ask = async () => (await (await fetch(`${url}api/locks`)).json()) as any;
      const first = await Promise.all(Array.from({ length: 5 }, ask));
      const again = await Promise.all(Array.from({ length: 5 }, ask));
      const inOneLook = await scans();
      const hasLookedAgain = async () => {
        await ask();
        return (await scans()) > inOneLook;
      };
      await until(hasLookedAgain, 'it looks again');

      for (const { locks, problems } of [...first, ...again]) {
        expect(locks.map(({ queue }: any) => queue).sort()).to.deep.equal(queues.map(q => q.qualifiedName));
        expect(problems).to.deep.equal([]);
      }
      expect(inOneLook).to.be.within(1, scansOfALook + 2);
      expect(await scans()).to.be.within(inOneLook + 1, 2 * scansOfALook + 4);
    });
  });

  it('fetch the names of locks only', async () => {
    const before = await bytesSent();
    await shownBy(createBoard({ queues }));

    expect((await bytesSent()) - before).to.be.below(OTHER_KEYS);

    async function bytesSent(): Promise<number> {
      return Number(/total_net_output_bytes:(\d+)/.exec(await redis.info('stats'))?.[1]);
    }
  });

  it('end when the last viewer has left', async () => {
    await withBoard({ queues }, async url => {
      const viewer = request(`${url}api/locks`).on('error', () => {});
      viewer.end();
      await until(async () => (await scans()) > 0);
      viewer.destroy();
      let soFar = -1;
      await until(async () => {
        await delay(50);
        const before = soFar;
        soFar = await scans();
        return soFar === before;
      });

      expect(soFar).to.be.below(scansOfALook);
      expect(((await (await fetch(`${url}api/locks`)).json()) as any).locks).to.have.length(5);
    });
  });

  it('are not needed by a force release, which hides its lock at once', async () => {
    const board = createBoard({ queues, allowForceRelease: true });
    const [lock] = (await shownBy(board)).locks;
    const before = await scans();

    const released = await askForceRelease(board, lock);
    const { locks } = await shownBy(board);
    board.close();

    expect(released.status).to.equal(200);
    expect(locks).to.have.length(4);
    expect(locks.map(({ storedKey }: any) => storedKey)).not.to.include(lock.storedKey);
    expect(await scans()).to.equal(before);
  });

  it('go by the connection of another queue, where that of one is closed', async () => {
    const board = createBoard({ queues });
    await queues[0]?.close();

    await until(async () => (await shownBy(board)).locks.length === 5, 'another connection looks');
    const { problems } = await shownBy(board);
    board.close();

    expect(problems).to.deep.equal([]);
  });
});
