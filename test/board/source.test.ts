import { setTimeout as delay } from 'node:timers/promises';
import { Queue } from 'bullmq';
import { expect } from 'chai';
import sinon from 'sinon';
import { type Board, createBoard } from '../../src/board.ts';
import { type LockCache, type LockRecord, MemoryCache, RedisCache } from '../../src/index.ts';
import { queueName } from '../../src/key/stored-name.ts';
import { failingCache, NO_ROUTE } from '../support/failing-cache.ts';
import { connectRedis, until } from '../support/index.ts';
import { RedisServer } from '../support/redis-server.ts';
import { askForceRelease, shownBy } from './served-board.ts';

/** Two servers with a queue `emails` on each, whose key `k` is held, and a board of both. */
class TwoServers {
  readonly servers: readonly RedisServer[];
  readonly queues: readonly Queue[];
  readonly caches: readonly RedisCache[];
  readonly board: Board;

  private constructor(servers: readonly RedisServer[]) {
    this.servers = servers;
    this.queues = servers.map(({ port }) => new Queue('emails', { connection: { port } }));
    for (const queue of this.queues) queue.on('error', () => {});
    const clients = servers.map(({ port }) => connectRedis({ host: '127.0.0.1', port }));
    for (const client of clients) client.on('error', () => {});
    this.caches = clients.map(client => new RedisCache(client));
    this.board = createBoard({ queues: this.queues, allowForceRelease: true });
  }

  static async start(): Promise<TwoServers> {
    const two = new TwoServers([await RedisServer.start(), await RedisServer.start()]);
    await Promise.all(two.queues.map(queue => queue.waitUntilReady()));
    for (const [i, cache] of two.caches.entries()) await hold(cache, 'bull:emails', `bull:emails:${i + 1}@1`);
    return two;
  }

  async stop(): Promise<void> {
    this.board.close();
    await Promise.all(this.queues.map(queue => queue.close()));
    for (const server of this.servers) await server.stop();
  }
}

async function hold(cache: LockCache, queue: string, owner: string): Promise<void> {
  const step = { storedKey: queueName(queue, 'k'), token: owner, owner, attempt: 1, ttl: 60_000 };
  await cache.acquire([step]);
}

/** What is shown, and how long that took. */
async function timed(board: Board): Promise<{ shown: any; ms: number }> {
  const startedAt = performance.now();
  return { shown: await shownBy(board), ms: performance.now() - startedAt };
}

/** A cache that takes a while to list its locks. */
function slowCache(ms: number): MemoryCache {
  const cache = new MemoryCache();
  const list = cache.list.bind(cache);
  async function* slowly(prefix: string): AsyncIterable<LockRecord> {
    await delay(ms);
    yield* list(prefix);
  }
  return Object.assign(cache, { list: slowly });
}

/** A cache that lists its locks, and does not come to an end for a while. */
function endlessCache(ms: number): MemoryCache {
  const cache = new MemoryCache();
  const list = cache.list.bind(cache);
  async function* listing(prefix: string): AsyncIterable<LockRecord> {
    yield* list(prefix);
    await delay(ms);
  }
  return Object.assign(cache, { list: listing });
}

/** A cache that can neither list nor release. */
function unreachableForAdmins(): MemoryCache {
  async function* list(): AsyncIterable<LockRecord> {
    yield await Promise.reject(new Error(NO_ROUTE));
  }
  return Object.assign(failingCache('forceRelease'), { list });
}

describe('a datastore with very many locks', () => {
  it('is shown with what was found so far, while its first look takes longer than a page waits', async () => {
    const cache = endlessCache(4000);
    await hold(cache, 'bull:emails', 'bull:emails:17@1');
    const board = createBoard({ caches: { many: cache } });

    const { shown, ms } = await timed(board);
    board.close();

    expect(ms).to.be.within(1900, 3900);
    expect(shown.locks.map(({ holderName }: any) => holderName)).to.deep.equal(['job 17 of emails']);
    expect(shown.isCut).to.equal(true);
    expect(shown.problems).to.deep.equal(['many: its locks are still being read; these were found so far']);
  });
});

describe('two queues of one name on two servers', () => {
  let two: TwoServers;
  beforeEach(async () => {
    two = await TwoServers.start();
  });
  afterEach(() => two.stop());

  it('are shown with labels that differ, and their locks are released one by one', async () => {
    const { board } = two;

    const before = await shownBy(board);
    const second = before.locks.find(({ source }: any) => source === 'bull:emails (2)');
    const released = await askForceRelease(board, second);
    const after = await shownBy(board);

    const about = ({ source, place, holderName }: any) => [source, place, holderName];
    expect(before.locks.map(about)).to.have.deep.members([
      ['bull:emails', 'bull:emails', 'job 1 of emails'],
      ['bull:emails (2)', 'bull:emails (2)', 'job 2 of emails'],
    ]);
    expect(released.status).to.equal(200);
    expect(after.locks.map(about)).to.deep.equal([['bull:emails', 'bull:emails', 'job 1 of emails']]);
  });

  it('do not hold up each other: one whose server is frozen is named after two seconds, then at once', async () => {
    const { board, servers } = two;
    const locks = (await shownBy(board)).locks;
    const ofFrozen = locks.find(({ source }: any) => source === 'bull:emails (2)');
    servers[1]?.freeze();
    // What was seen is shown for a while.
    await delay(1600);

    const first = await timed(board);
    const next = await timed(board);
    const released = await askForceRelease(board, ofFrozen);
    const { problem }: any = await released.json();
    servers[1]?.thaw();
    await until(async () => (await shownBy(board)).problems.length === 0, 'the server is back');
    const back = await shownBy(board);

    expect(first.ms).to.be.within(1900, 4000);
    expect(next.ms).to.be.below(1000);
    for (const { shown } of [first, next]) {
      expect(shown.problems).to.have.length(1);
      expect(shown.problems[0]).to.match(/^bull:emails \(2\): its datastore did not answer/);
      expect(shown.locks.map(({ source }: any) => source)).to.include('bull:emails');
    }
    expect(released.status).to.equal(503);
    expect(problem).to.equal(
      'bull:emails (2): its datastore did not answer; the lock may be released as soon as it does',
    );
    expect(back.locks.map(({ source }: any) => source)).to.deep.equal(['bull:emails']);
  });

  it('show nothing of what their drivers say', async () => {
    const { servers, board } = two;
    await servers[0]?.kill();

    const { locks, problems } = await shownBy(board);
    await servers[0]?.restart();

    expect(locks.map(({ source }: any) => source)).to.deep.equal(['bull:emails (2)']);
    expect(problems).to.deep.equal(['bull:emails: its datastore did not answer']);
  });
});

describe('a source of the board', () => {
  it('has a label of its own, also where a cache has the name of a queue', async () => {
    const queue = { name: 'emails', qualifiedName: 'bull:emails' };
    const board = createBoard({
      queues: [queue, queue, { ...queue }],
      caches: { 'bull:emails': unreachableForAdmins(), 'bull:emails (2)': unreachableForAdmins() },
    });

    const { problems } = await shownBy(board);
    board.close();

    const noConnection =
      "locksOf: the queue 'emails' has no connection that locks could be on; pass their cache instead";
    expect(problems).to.deep.equal([
      `bull:emails: ${noConnection}`,
      `bull:emails (2): ${noConnection}`,
      'bull:emails (3): its datastore did not answer',
      'bull:emails (2) (2): its datastore did not answer',
    ]);
  });

  it('says nothing of an error of its cache but in a warning of the process', async () => {
    const board = createBoard({ caches: { store: unreachableForAdmins() }, allowForceRelease: true });
    const warnings: Error[] = [];
    const collect = (warning: Error) => warnings.push(warning);
    process.on('warning', collect);
    // There is one warning a minute.
    const clock = sinon.useFakeTimers({ toFake: ['performance'] });
    clock.tick(1e9);

    const shown = await shownBy(board);
    const lock = { source: 'store', storedKey: 'once::1:default:k', fence: 1 };
    const released = await askForceRelease(board, lock);
    const body = await released.text();
    clock.restore();
    await until(() => warnings.length > 0);
    process.off('warning', collect);
    board.close();

    expect(JSON.stringify(shown) + body).not.to.include(NO_ROUTE);
    expect(shown.problems).to.deep.equal(['store: its datastore did not answer']);
    expect(released.status).to.equal(503);
    expect(warnings[0]).to.include({ name: 'OnceWarning', code: 'ONCE_BOARD_SOURCE' });
    expect(warnings[0]?.message).to.include(NO_ROUTE);
  });

  it('shows the locks that it had and says how old they are, where a look takes longer than a page waits', async () => {
    const cache = slowCache(2400);
    await hold(cache, 'bull:emails', 'bull:emails:1@1');
    const board = createBoard({ caches: { cache } });

    const first = await timed(board);
    await delay(2200);
    const second = await timed(board);
    board.close();

    expect(first.shown.locks).to.deep.equal([]);
    expect(first.shown.problems).to.deep.equal(['cache: its datastore did not answer']);
    expect(second.ms).to.be.below(1000);
    expect(second.shown.locks.map(({ holderName }: any) => holderName)).to.deep.equal(['job 1 of emails']);
    expect(second.shown.locks[0].expiresIn).to.be.within(50_000, 60_000);
    expect(second.shown.problems).to.deep.equal(['cache: its locks are shown as they were 5 s ago']);
  });
});
