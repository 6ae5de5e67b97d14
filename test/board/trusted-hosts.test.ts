import { expect } from 'chai';
import { type BoardOptions, createBoard } from '../../src/board.ts';
import { Lock, MemoryCache } from '../../src/index.ts';
import { type Received, sendAsIs, withBoard } from './served-board.ts';

/** What a page does that is served under a host: browsers send its Host and a matching Origin. */
interface Asked {
  readonly list: Received;
  readonly release: Received;
  readonly isStillHeld: boolean;
}

async function askUnder(host: string, options: Partial<BoardOptions> = {}): Promise<Asked> {
  const cache = new MemoryCache();
  const handle = await new Lock('k', { cache }).acquire();
  let asked: Asked | undefined;
  await withBoard({ caches: { memory: cache }, allowForceRelease: true, ...options }, async url => {
    const headers = { host, origin: `http://${host}`, 'content-type': 'application/json' };
    const list = await sendAsIs(url, { path: '/api/locks', headers });
    const release = await sendAsIs(url, {
      method: 'POST',
      path: '/api/force-release',
      headers: { ...headers, 'sec-fetch-site': 'same-origin' },
      body: JSON.stringify({ source: 'memory', storedKey: 'once::1:default:k', fence: handle.fence }),
    });
    asked = { list, release, isStillHeld: await handle.release() };
  });
  return asked as Asked;
}

describe('the hosts of a board', () => {
  it('are names of this machine and IP addresses, unless an option names others', async () => {
    for (const host of [
      'localhost:3000',
      'board.localhost',
      '127.0.0.1',
      '10.1.2.3:80',
      '[::1]:3000',
      'LOCALHOST',
    ]) {
      const { list, release, isStillHeld } = await askUnder(host);

      expect([host, list.status, release.status, isStillHeld]).to.deep.equal([host, 200, 200, false]);
    }
  });

  it('do not include a foreign name that leads to the board (DNS rebinding)', async () => {
    for (const host of [
      'evil.example',
      'evil.example:3000',
      'localhost.evil.example',
      '127.0.0.1.evil.example',
      'a@b',
    ]) {
      const { list, release, isStillHeld } = await askUnder(host);

      expect([host, list.status, release.status, isStillHeld]).to.deep.equal([host, 403, 403, true]);
      expect(JSON.parse(release.body).problem).to.equal(
        `the board is not served under the host '${host}': name it in the board's option 'hosts' ` +
          '(without that option, localhost and IP addresses are trusted). A proxy must pass on the Host of the browser',
      );
      expect(list.body).not.to.include('once::1:default:k');
    }
  });

  it('are those that the option names, with a port or with any, and no others', async () => {
    const hosts = ['ops.example.com', 'Büro.example:8080', 'tls.example.com:443'];
    const statusUnder = async (host: string) => (await askUnder(host, { hosts })).release.status;

    expect(await statusUnder('ops.example.com')).to.equal(200);
    expect(await statusUnder('OPS.example.com:8443')).to.equal(200);
    expect(await statusUnder('xn--bro-hoa.example:8080')).to.equal(200);
    expect(await statusUnder('xn--bro-hoa.example:8081')).to.equal(403);
    expect(await statusUnder('tls.example.com')).to.equal(200);
    expect(await statusUnder('evil.example')).to.equal(403);
    expect(await statusUnder('localhost')).to.equal(403);
    expect(await statusUnder('127.0.0.1')).to.equal(403);
  });

  it('are names, not patterns', () => {
    const options = { caches: { memory: new MemoryCache() }, hosts: ['*.example.com'] };
    expect(() => createBoard(options)).to.throw(TypeError, "not '*.example.com'");
  });
});
