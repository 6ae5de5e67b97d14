import { Queue } from 'bullmq';
import { expect } from 'chai';
import { createBoard } from '../../src/board.ts';
import { enterStep } from '../../src/conformance/lines.ts';
import { Lock, type LockHandle, MemoryCache, RedisCache } from '../../src/index.ts';
import { connectRedis, redisOptions, uniqueName } from '../support/index.ts';
import { askForceRelease, postForceRelease, shownBy, withBoard } from './served-board.ts';

async function problemOf(answer: Response): Promise<string> {
  return ((await answer.json()) as { problem: string }).problem;
}

describe('a force release on the board', () => {
  let cache: MemoryCache;
  let handle: LockHandle;
  let request: { source: string; storedKey: string; fence: number };
  beforeEach(async () => {
    cache = new MemoryCache();
    handle = await new Lock('k', { cache }).acquire();
    request = { source: 'memory', storedKey: 'once::1:default:k', fence: handle.fence };
  });

  it('is refused where another page asks, another holder was seen, or the request makes no sense', async () => {
    await withBoard({ caches: { memory: cache }, allowForceRelease: true }, async url => {
      const { origin } = new URL(url);
      const answers = await Promise.all([
        postForceRelease(url, request, {}),
        postForceRelease(url, request, { origin: 'https://evil.example' }),
        postForceRelease(url, request, { origin: 'null' }),
        postForceRelease(url, request, { origin, 'sec-fetch-site': 'cross-site' }),
        postForceRelease(url, request, { origin, 'sec-fetch-site': 'same-site' }),
        postForceRelease(url, { ...request, fence: handle.fence - 1 }, { origin }),
        postForceRelease(url, { ...request, storedKey: 'once::1:default:other' }, { origin }),
        postForceRelease(url, { ...request, source: 'elsewhere' }, { origin }),
        postForceRelease(url, { ...request, fence: undefined }, { origin }),
        postForceRelease(url, { ...request, fence: 0.5 }, { origin }),
        postForceRelease(url, 'nonsense', { origin }),
        fetch(`${url}api/force-release`),
        fetch(url, { method: 'DELETE' }),
      ]);

      expect(answers.map(({ status }) => status)).to.deep.equal([
        403, 403, 403, 403, 403, 409, 409, 400, 400, 400, 400, 405, 405,
      ]);
    });
    expect(handle.held).to.equal(true);
    expect(await handle.release()).to.equal(true);
  });

  it('ends only the acquisition that was shown, and says who holds the key by now', async () => {
    const board = createBoard({ caches: { memory: cache }, allowForceRelease: true });
    const [shown] = (await shownBy(board)).locks;
    await handle.release();

    const ofNone = await askForceRelease(board, shown);
    const next = await new Lock('k', { cache, owner: 'bull:emails:18@1790000000000' }).acquire();
    const ofAnother = await askForceRelease(board, shown);
    const isStillHeld = await next.release();
    board.close();

    const notReleased = 'the lock was not released: it is';
    expect([ofNone.status, await ofNone.json()]).to.deep.equal([
      409,
      { problem: `${notReleased} no longer held` },
    ]);
    expect([ofAnother.status, await ofAnother.json()]).to.deep.equal([
      409,
      { problem: `${notReleased} now held by job 18 of emails` },
    ]);
    expect(isStillHeld).to.equal(true);
  });

  it('looks at one key, and lists nothing', async () => {
    const inspected: string[] = [];
    const board = createBoard({ caches: { memory: cache }, allowForceRelease: true });
    const [shown] = (await shownBy(board)).locks;
    const inspect = cache.inspect.bind(cache);
    Object.assign(cache, {
      list: () => expect.fail('the board lists the locks'),
      inspect: (storedKeys: string[]) => {
        inspected.push(...storedKeys);
        return inspect(storedKeys);
      },
    });

    const wrongFence = await askForceRelease(board, { ...shown, fence: 1 });
    const rightFence = await askForceRelease(board, shown);
    board.close();

    expect([wrongFence.status, rightFence.status]).to.deep.equal([409, 200]);
    expect(inspected).to.deep.equal([shown.storedKey]);
  });

  it('neither releases nor shows what is not of its source, or is no lock', async () => {
    const name = 'once::1:default:k';
    const redis = connectRedis();
    const queue = new Queue(uniqueName('queue'), { connection: redisOptions() });
    await new RedisCache(redis).acquire([{ storedKey: name, token: 't', owner: 'o', attempt: 0, ttl: 9000 }]);
    const [record] = await new RedisCache(redis).inspect([name]);
    await redis.set('a-key', '{"once":1,"state":"running","fence":7,"since":1}', 'EX', 9);
    const board = createBoard({
      queues: [queue],
      caches: { all: new RedisCache(redis) },
      allowForceRelease: true,
    });
    const fence = record?.fence as number;

    const answers = [
      await askForceRelease(board, { source: queue.qualifiedName, storedKey: name, fence }),
      await askForceRelease(board, { source: 'all', storedKey: 'a-key', fence: 7 }),
    ];
    const left = await redis.exists(name, 'a-key');
    const right = await askForceRelease(board, { source: 'all', storedKey: name, fence });
    board.close();
    await queue.close();
    redis.disconnect();

    for (const answer of answers) {
      expect(answer.status).to.equal(409);
      expect(await problemOf(answer)).to.match(/it is no longer held$/);
    }
    expect(left).to.equal(2);
    expect(right.status).to.equal(200);
  });

  it('says so where the cache of the source has no force release', async () => {
    const bare = Object.assign(new MemoryCache(), { forceRelease: undefined }) as never;
    const board = createBoard({ caches: { bare }, allowForceRelease: true });

    const answer = await askForceRelease(board, { ...request, source: 'bare' });
    board.close();

    expect(answer.status).to.equal(501);
    expect(await problemOf(answer)).to.match(/this cache can't release a lock by force/);
  });

  it('is refused unless the board allows it', async () => {
    await withBoard({ caches: { memory: cache } }, async url => {
      const answer = await postForceRelease(url, request, { origin: new URL(url).origin });
      const shown: any = await (await fetch(`${url}api/locks`)).json();

      expect(answer.status).to.equal(403);
      expect(await problemOf(answer)).to.equal(
        "this board is read-only; its option 'allowForceRelease: true' allows a force release",
      );
      expect(shown.allowForceRelease).to.equal(false);
      expect(shown.locks).to.have.length(1);
    });
    expect(await handle.release()).to.equal(true);
  });

  it('hides only the holder that was shown, of a key with several', async () => {
    const storedKey = 'once::1:default:shared';
    await cache.enter(['first', 'second', 'third'].map(owner => enterStep({ storedKey, owner, places: 3 })));
    const board = createBoard({ caches: { memory: cache }, allowForceRelease: true });
    const ownersOf = ({ locks }: any) =>
      locks.filter((lock: any) => lock.storedKey === storedKey).map(({ owner }: any) => owner);
    const shown = await shownBy(board);

    for (const owner of ['first', 'second']) {
      await askForceRelease(
        board,
        shown.locks.find((lock: any) => lock.owner === owner),
      );
    }
    const after = await shownBy(board);
    board.close();

    expect(ownersOf(shown)).to.have.members(['first', 'second', 'third']);
    expect(ownersOf(after)).to.deep.equal(['third']);
  });
});
