import { expect } from 'chai';
import { Lock, type LockHandle, MemoryCache } from '../../src/index.ts';
import { postForceRelease, withBoard } from './served-board.ts';

describe('a force release on the board', () => {
  let cache: MemoryCache;
  let handle: LockHandle;
  let request: { source: string; storedKey: string; fence: number };
  beforeEach(async () => {
    cache = new MemoryCache();
    handle = await new Lock('k', { cache }).acquire();
    request = { source: 'memory', storedKey: 'once:1:default:k', fence: handle.fence };
  });

  it('is refused where another page asks, another holder was seen, or the request makes no sense', async () => {
    await withBoard({ caches: { memory: cache } }, async url => {
      const { origin } = new URL(url);
      const answers = await Promise.all([
        postForceRelease(url, request, {}),
        postForceRelease(url, request, { origin: 'https://evil.example' }),
        postForceRelease(url, request, { origin: 'null' }),
        postForceRelease(url, request, { origin, 'sec-fetch-site': 'cross-site' }),
        postForceRelease(url, request, { origin, 'sec-fetch-site': 'same-site' }),
        postForceRelease(url, { ...request, fence: 1 }, { origin }),
        postForceRelease(url, { ...request, storedKey: 'once:1:default:other' }, { origin }),
        postForceRelease(url, { ...request, source: 'elsewhere' }, { origin }),
        postForceRelease(url, 'nonsense', { origin }),
        fetch(`${url}api/force-release`),
        fetch(url, { method: 'DELETE' }),
      ]);

      expect(answers.map(({ status }) => status)).to.deep.equal([
        403, 403, 403, 403, 403, 409, 409, 400, 400, 405, 405,
      ]);
    });
    expect(handle.held).to.equal(true);
    expect(await handle.release()).to.equal(true);
  });

  it('is refused where the board is read-only', async () => {
    await withBoard({ caches: { memory: cache }, readOnly: true }, async url => {
      const answer = await postForceRelease(url, request, { origin: new URL(url).origin });
      const shown: any = await (await fetch(`${url}api/locks`)).json();

      expect(answer.status).to.equal(403);
      expect(shown.readOnly).to.equal(true);
    });
    expect(await handle.release()).to.equal(true);
  });
});
